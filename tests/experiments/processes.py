"""Other processes, as a test needs them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def started(program: str, *arguments) -> subprocess.Popen:
    """A Python process at the root of the project that runs a program, with pipes of text to and from it."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def output_of(program: str, *arguments) -> str:
    """What such a process prints; it must end well."""
    process = started(program, *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output
