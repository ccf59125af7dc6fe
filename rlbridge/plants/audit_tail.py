"""The end of an audit file, as its gate writes on: for people who watch, not for proof (``rlbridge audit verify``)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

_SHOWN_BYTES = 1 << 16
_SEARCHED_BYTES = 1 << 26
_CHUNK = 1 << 20
_OPEN = b'"event":"open"'


class AuditTail:
    """The last records of one file, and the record that opened its last session. Not for several threads at a time.

    Args:
        path: of the audit file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._searched = -1, 0
        self._opening: dict[str, Any] = {}

    def records(self) -> list[dict[str, Any]]:
        """What whole lines of the last 64 KiB say, the latest last; a line that is none is left out."""
        try:
            with self._path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - _SHOWN_BYTES))
                lines = file.read(_SHOWN_BYTES).split(b"\n")
        except OSError:
            return []
        whole = lines[1 if end > _SHOWN_BYTES else 0 : -1]
        return [record for line in whole if (record := _parsed(line))]

    def opening(self) -> dict[str, Any]:
        """The last record of event ``open``: who, and the limits and interlocks in force. Empty where there is none.

        The whole file is searched once (64 MiB of it at most), and then what is new.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._searched:
                    self._inode, self._searched, self._opening = status.st_ino, 0, {}
                at = _last_open(file, max(self._searched, status.st_size - _SEARCHED_BYTES), status.st_size)
                if at is not None:
                    file.seek(at)
                    self._opening = _parsed(file.readline(_CHUNK)) or self._opening
                # The last line may not be whole yet.
                self._searched = max(self._searched, status.st_size - _CHUNK)
        except OSError:
            return {}
        return self._opening


def _last_open(file: BinaryIO, begin: int, end: int) -> int | None:
    """Where the last line with that event begins, between two offsets."""
    later = b""
    while end > begin:
        start = max(begin, end - _CHUNK)
        file.seek(start)
        chunk = file.read(end - start) + later
        at = chunk.rfind(_OPEN)
        newline = chunk.rfind(b"\n", 0, at) if at >= 0 else -1
        if at >= 0 and (newline >= 0 or start == 0):
            return start + newline + 1
        later = chunk[: len(_OPEN) if at < 0 else at + len(_OPEN)]
        end = start
    return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
