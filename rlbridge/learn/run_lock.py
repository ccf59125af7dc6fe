"""One process at a time writes to a run folder: a lock that the system lets go when its holder dies."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class Locked(Exception):
    """Another process holds the lock; says which."""


class RunLock:
    """Holds the file ``path``, which has the holder's process id and machine in it, until :meth:`release`.

    What a dead process left is taken over. Raises Locked, or OSError where the file system knows no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        while self._descriptor < 0:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _take(descriptor)
                # Its holder may have removed the file between our opening and locking it.
                if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                    self._descriptor = descriptor
            except (BlockingIOError, PermissionError):
                raise Locked(_read(path)) from None
            finally:
                if self._descriptor < 0:
                    os.close(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def release(self) -> None:
        """Remove the file. More than once does no harm."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            if sys.platform == "win32":
                os.close(descriptor)  # an open file cannot be removed there
                self.path.unlink(missing_ok=True)
            else:
                self.path.unlink(missing_ok=True)
                os.close(descriptor)


def _take(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind the text, which stays readable
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
    except OSError:
        return "another process"
