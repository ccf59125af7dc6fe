"""One process at a time writes to a run folder: a lock that the system lets go when its holder dies."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_LOOKED_AT_SECONDS = 0.3  # far longer than ``held`` has it


class Locked(Exception):
    """Another process holds the lock; says which."""


class RunLock:
    """Holds the file ``path``, which has the holder's process id and machine in it, until :meth:`release`.

    What a dead process left is taken over. Raises Locked, or OSError where the file system knows no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        until = time.monotonic() + _LOOKED_AT_SECONDS
        while self._descriptor < 0:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _take_until(until, descriptor)
                # Its holder may have removed the file between our opening and locking it.
                if _is_at(path, descriptor):
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


def held(path: Path) -> bool:
    """Whether a process holds the lock now. Raises nothing, whatever lies there.

    Looking shares the lock for a moment: those who look are not in each other's way, and who wants it sits them out.
    """
    try:
        descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:  # it is there and somebody else's; only a run that was killed would have left it
        return True
    except OSError:
        return False
    try:
        _take(descriptor, shared=True)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # this file system knows no locks, so that nobody can hold one
        return False
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> tuple[int, str] | None:
    """The process id and the machine's name of who holds the lock; None if nobody does."""
    # No process has the number 0: a signal to it would go to ourselves.
    told = re.fullmatch(r"process ([1-9][0-9]{0,8}) on (\S+)", _read(path)) if held(path) else None
    return (int(told[1]), told[2]) if told else None


def _take_until(until: float, descriptor: int) -> None:
    while True:
        try:
            return _take(descriptor)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take(descriptor: int, shared: bool = False) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind the text, which stays readable
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
    except OSError:
        return "another process"
