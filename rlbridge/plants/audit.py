"""The audit: one line of JSON for everything that a gate did, each line chained to the one before by its hash.

Whoever alters, removes, inserts or reorders lines breaks the chain; whoever cuts off the end does not, unless somebody
noted down the last hash (`rlbridge audit verify` prints it and can be told what it should be).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

GENESIS = "0" * 64
"""What the first line is chained to."""


class AuditBroken(ValueError):
    """The file is not what a gate wrote; the message names the first line that is wrong, and how."""


class PlantHeld(RuntimeError):
    """Another session holds the plant: its audit file is open for writing, and a plant has one writer."""


class AuditLog:
    """Appends to an audit file, and holds it: one writer at a time, of the file and so of the plant.

    Every line is handed to the operating system before ``append`` returns, so it outlives this process, killed or not.
    A line that a dying machine left unfinished is taken out of the file and kept in the next one, under ``torn``.

    Raises:
        PlantHeld: another process or session has it. AuditBroken: its last line is none. OSError: as open does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        # Without a buffer: what a full disk did not take must not be written later, behind other lines.
        self._file = path.open("a+b", buffering=0)
        try:
            _lock(self._file.fileno(), path)
            self.count, self.head, torn = _tail(self._file, path)
            if torn:
                self._file.truncate(self._file.seek(0, os.SEEK_END) - len(torn))
                self.append({"event": "recovered", "torn": torn.decode(errors="backslashreplace")})
        except BaseException:
            self._file.close()
            raise

    def append(self, record: dict[str, Any]) -> int:
        """Write one line; adds ``n`` (its number), ``at`` (UTC, in seconds since the epoch), ``prev`` and ``hash``.

        Any thread may call. Returns the line's number.
        """
        with self._lock:
            number = self.count
            line = {"n": number, "at": round(time.time(), 6), **record, "prev": self.head}
            line["hash"] = digest(line)
            self._write(_text(line) + b"\n")
            self.head, self.count = line["hash"], number + 1
            return number

    def _write(self, line: bytes) -> None:
        """All of it or nothing."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "no space left for a whole line", str(self.path))
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def first_free(path: Path) -> AuditLog:
    """The log ``path``, or the first of ``path-2``, ``path-3``, … that nobody holds: simulated plants may be many."""
    for number in range(1, 10_000):
        try:
            return AuditLog(path if number == 1 else path.with_stem(f"{path.stem}-{number}"))
        except PlantHeld:
            continue
    raise PlantHeld(f"{path} and 9,999 like it are all held")


def digest(record: dict[str, Any]) -> str:
    """SHA-256 of a record without its own hash; it covers the one before by ``prev``."""
    return hashlib.sha256(_text({key: value for key, value in record.items() if key != "hash"})).hexdigest()


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of an audit file, as the chain is followed.

    Raises:
        AuditBroken: at the first line that is not what was written. OSError: as open does.
    """
    head = GENESIS
    with path.open("rb") as file:
        for n, line in enumerate(file):
            record = _parsed(line, path, n)
            if record.get("n") != n:
                raise AuditBroken(f"{path}, line {n + 1}: it is numbered {record.get('n')}; lines are missing or moved")
            if record.get("prev") != head:
                raise AuditBroken(f"{path}, line {n + 1}: it does not follow from the line before; the chain is broken")
            if record.get("hash") != digest(record) or _text(record) + b"\n" != line:
                raise AuditBroken(f"{path}, line {n + 1}: its hash does not fit what it says; it was altered")
            head = record["hash"]
            yield record


def _parsed(line: bytes, path: Path, n: int) -> dict[str, Any]:
    try:
        if not line.endswith(b"\n"):
            raise ValueError("it is not finished")
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise AuditBroken(f"{path}, line {n + 1}: {error}") from None
    return record


def _text(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode()


def _tail(file: Any, path: Path) -> tuple[int, str, bytes]:
    """The number and hash that the next line follows from, and what was left unfinished behind the last one."""
    size, tail = file.seek(0, os.SEEK_END), b""
    position = size
    while position and tail.rstrip(b"\n").count(b"\n") < 2:
        step = min(position, 1 << 16)
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
    whole, newline, torn = tail.rpartition(b"\n")
    if not newline:
        return 0, GENESIS, torn
    record = _parsed(whole.rpartition(b"\n")[2] + b"\n", path, -2)
    if record.get("hash") != digest(record):
        raise AuditBroken(f"{path}: its last line was altered. Verify it, keep it, and let the plant begin a new file.")
    return int(record["n"]) + 1, str(record["hash"]), torn


def _lock(descriptor: int, path: Path) -> None:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # far behind the text
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise PlantHeld(
            f"another session holds the plant (it writes to {path}). A plant has one writer: close that session, or "
            "wait for its lease to run out."
        ) from None
