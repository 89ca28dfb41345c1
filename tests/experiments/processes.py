"""Other processes, as a test needs them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 600  # seconds after which a process has hung: far more than any takes on a busy machine

# the search, ended by the kernel `delay` seconds of computing after it recorded `rows` rows; another process
# would look too late on a busy machine
KILLED_SEARCH = """
import signal, sys
from experiments.shape_search import main
from experiments.study.storage.journal import Journal

record, rows, delay = Journal.record, int(sys.argv[1]), float(sys.argv[2])

def recorded(journal, new):
    record(journal, new)
    if sum(journal.counts().values()) >= rows:
        Journal.record = record
        signal.setitimer(signal.ITIMER_PROF, delay)

Journal.record = recorded
sys.exit(main(sys.argv[3:]))
"""


def started(program: str, *arguments) -> subprocess.Popen:
    """A Python process at the root of the project that runs a program, with pipes of text to and from it.

    What was read of its output line by line goes on with `stdout.read()`: `communicate` knows nothing of the
    lines that were read ahead.
    """
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def output_of(program: str, *arguments) -> str:
    """What such a process prints; it must end well."""
    process = started(program, *arguments)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output
