"""How every command begins and ends, whatever its streams are and whenever it is stopped; imports no JAX."""

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable

from experiments.study.running.stopping import ending_at_once

STREAMS = ("stdin", "stdout", "stderr")  # by file descriptor


def ended(command: Callable[[], int]) -> int:
    """The exit status of `command()`, which may print anything to streams that are closed, ASCII or broken.

    Nobody reads on: it ends silently, with the status that SIGPIPE would leave. Any other error of the
    operating system that reaches this point ends it with a line and status 2.
    """
    _open_streams()
    with ending_at_once():
        try:
            try:
                return command()
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            status = 128 + signal.SIGPIPE
        except OSError as error:
            with contextlib.suppress(OSError):
                print(f"error: {error}", file=sys.stderr)
            status = 2
        _drop_unwritable()
        return status


def jax_problem() -> str | None:
    """What is wrong where a variable of the environment has a value that JAX does not take."""
    try:
        importlib.import_module("jax")
    except ImportError:
        return None  # whoever needs it says what is missing
    except ValueError as error:
        return f"JAX does not start: {error}."
    return None


def _open_streams() -> None:
    """Let closed streams lead nowhere, rather than to the next file that is opened; none refuse a word."""
    closed = [number for number, name in enumerate(STREAMS) if getattr(sys, name) is None]
    for number in closed:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(nowhere, number)
            os.close(nowhere)
        mode = "r" if number == 0 else "w"
        setattr(sys, STREAMS[number], os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # it may lack × and θ, and what was typed


def _drop_unwritable() -> None:
    """What cannot be written now would be an error once more at the end of the process."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
