"""Requests to stop (Ctrl-C, a closed terminal, ``kill``), kept until one has time for them."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequests:
    """
    While this context lasts, signals that would end the process are noted and nothing else. Those that are ignored, as
    a closed terminal is under ``nohup``, stay so.

    An exception in the middle of anything could lose a process that was just started.
    """

    def __init__(self) -> None:
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        known = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # None: a handler that is not Python's, which could not be put back.
        self._signals = [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        self._seen = False

    def __call__(self) -> bool:
        """Whether there was a request."""
        return self._seen

    def __enter__(self) -> StopRequests:
        """Begin to note signals."""
        self._before = {number: signal.signal(number, self._note) for number in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
