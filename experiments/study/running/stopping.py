"""SIGINT, which is Ctrl-C, and SIGTERM: met at the next point from which a study resumes, or at once.

Where a signal arrives nothing is raised: JAX runs Python code inside callbacks that swallow what it raises.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The study ended before its end, as a signal asked; what was computed is recorded.

    Attributes:
      status: the exit status that says so, 128 + the number of the signal.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped, as {signal.Signals(number).name} asked")
        self.status = 128 + int(number)


class StopRequest:
    """The signal that came, in a `with` statement of the main thread; a second one ends the process at once.

    A thread of its own listens, since the main one may compile or wait for devices for minutes. A study
    inside another has the same request.

    Attributes:
      received: the number of the signal; 0 where none came.
    """

    def __init__(self, say: Callable[[str], None]):
        """`say`: prints what becomes of the signal, as soon as it comes."""
        self.received = 0
        self._say = say
        self._before = {}  # the handlers that this one stands in for, by signal
        self._heard = self._handled = 0  # by the listener, and by the main thread

    def __enter__(self) -> "StopRequest":
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        owners = {getattr(handler, "__self__", None) for handler in handlers.values()}
        if outer := next((request for request in owners if isinstance(request, StopRequest)), None):
            return outer
        if threading.current_thread() is threading.main_thread():  # no other thread may listen
            self._before = {
                number: handler
                for number, handler in handlers.items()
                if handler is not signal.SIG_IGN  # as it is behind nohup
            }
        if self._before:
            arrivals, self._arrived = os.pipe()
            os.set_blocking(self._arrived, False)
            self._woken_before = signal.set_wakeup_fd(self._arrived, warn_on_full_buffer=False)
            for number in self._before:
                signal.signal(number, self._handle)
            threading.Thread(target=self._listen, args=(arrivals,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._woken_before)
            os.close(self._arrived)  # the thread ends

    def _listen(self, arrivals: int) -> None:
        with open(arrivals, "rb", buffering=0) as numbers:
            while arrived := numbers.read(1):
                self._meet(arrived[0])

    def _meet(self, number: int) -> None:
        if number not in self._before:  # another signal of the caller's
            return
        self._heard += 1
        if self._heard == 1:
            self.received = number
            self._say("Stopping after this chunk; once more ends at once.")
        elif self._before[number] is not signal.default_int_handler:  # as in a notebook, which shall live on
            end_at_once(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, when it comes back to Python: a second signal is for the handler before."""
        self.received, self._handled = number, self._handled + 1
        if self._handled > 1 and callable(self._before[number]):
            self._before[number](number, frame)


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End the process with a line, wherever it is: what is on the disk is complete."""
    with contextlib.suppress(OSError):
        os.write(2, b"Stopped.\n")
    os._exit(128 + number)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let SIGINT end the process without a traceback, in a `with` statement of the main thread."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, end_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def follow_parent() -> None:
    """Leave SIGINT to the process that started this one, and end when that one does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
