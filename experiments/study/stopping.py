"""SIGTERM, met at the next point from which a study resumes."""

import signal
import threading
from types import FrameType


class Stopped(Exception):
    """The study ended before its end, as SIGTERM asked; what was computed is recorded."""


class StopRequest:
    """Whether SIGTERM came, in a `with` statement of the main thread; a second one ends the process."""

    def __init__(self):
        self.received = False

    def __enter__(self) -> "StopRequest":
        self._listens = threading.current_thread() is threading.main_thread()  # no other thread may
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *exception) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
