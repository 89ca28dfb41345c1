"""Other processes, as a test needs them, forked from one that has imported everything: that takes seconds."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, TextIO

import jax

from experiments.endurance.apart import forkserver

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


class Started(NamedTuple):
    """A process, with pipes of text to and from it. It has the environment that the first one had."""

    process: BaseProcess
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    def ended(self) -> tuple[int, str, str]:
        """Its exit status, and what else it prints, once its input has ended too."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        with self.stdout, self.stderr:
            printed = self.stdout.read(), self.stderr.read()
        self.process.join(PATIENCE)
        return self.process.exitcode, *printed

    def killed(self) -> None:
        """Once it is."""
        self.process.kill()
        self.process.join(PATIENCE)


def started(program: str, *arguments, devices: int | None = None) -> Started:
    """Start a process that runs a program, as `python -c` does, with so many devices."""
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    words = [program, *map(str, arguments)]
    process = forkserver().Process(target=_run, args=(words, theirs, devices), daemon=True)
    process.start()
    streams = [os.fdopen(os.dup(end.fileno()), mode) for end, mode in zip(ours, "wrr", strict=True)]
    for end in (*theirs, *ours):
        end.close()
    return Started(process, *streams)


def output_of(program: str, *arguments) -> str:
    """What such a process prints; it must end well."""
    status, output, errors = started(program, *arguments).ended()
    assert status == 0, errors
    return output


def _run(words: Sequence[str], ends: Sequence[Connection], devices: int | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, 1, closefd=False) for number, mode in enumerate("rww")
    )
    sys.argv = ["-c", *words[1:]]
    if devices is not None:
        jax.config.update("jax_num_cpu_devices", devices)
    try:
        exec(words[0], {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()
