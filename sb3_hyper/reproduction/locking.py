"""A lock on a file, which the training process inherits: it holds as long as one of its holders lives."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """
    An advisory lock, let go by the system when its last holder ends, however it ends.

    A child process that is given :attr:`descriptors` (``subprocess.Popen(pass_fds=…)``) holds it too: where a scheduler
    is killed and its training goes on, nobody else starts the same training.

    :param path: the file, made if need be
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child has to inherit to hold the lock too; nothing on Windows, where it cannot."""
        return () if sys.platform == "win32" or self._descriptor is None else (self._descriptor,)

    def acquire(self) -> bool:
        """
        Try to get the lock.

        :return: whether it was free
        :raises OSError: when the file cannot be opened
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let it go, for this process; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
