"""Requests to stop (Ctrl-C, a closed terminal, ``kill``), kept until one has time for them."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequests:
    """
    While this context lasts, signals that would end the process are noted and nothing else.

    An exception in the middle of anything could lose a process that was just started.
    """

    def __init__(self) -> None:
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        self._signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
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
