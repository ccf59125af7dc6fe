"""A run's metrics for a chart: read as they grow, and thinned so that a chart of any run has as many points."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

POINTS = 500
_KEPT = b'"eval/'
_CHUNK = 1 << 22
_MARK = 256
_LARGEST = 1e300  # beyond it a chart cannot calculate


class Curve:
    """The rows of one ``metrics.jsonl``, of which every ``stride``-th is kept, and all with evaluations.

    The stride doubles when there are twice as many rows as :data:`POINTS`; so a file of any length is read once, and
    only what is kept of it is parsed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._offset, self._lines, self._stride = 0, 0, 1
        self._rest, self._mark = b"", b""  # what is no whole line yet, and the end of what was read
        self._known: tuple[int, ...] = ()
        self._rows: list[tuple[int, dict[str, float]]] = []  # with each row's line number
        self._latest: dict[str, float] | None = None

    def read(self) -> list[dict[str, float]]:
        """All rows kept, by rising step, and always the latest; what was written since the last call is read.

        A run that was resumed has taken back its last rows, and a deleted one may have a namesake: then everything is
        read anew.
        """
        with self._lock:
            try:
                with self._file.open("rb") as file:
                    self._go_on(file)
            except OSError:
                self._clear()
            rows = [row for _, row in self._rows]
            return rows if self._latest is None or (rows and rows[-1] is self._latest) else [*rows, self._latest]

    def _go_on(self, file: BinaryIO) -> None:
        now = os.fstat(file.fileno())
        known = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        if known == self._known:
            return
        # A file of the same number need not be the same one: numbers are used again. What was read must still be there.
        file.seek(max(self._offset - _MARK, 0))
        if known[:2] != self._known[:2] or now.st_size < self._offset or file.read(len(self._mark)) != self._mark:
            self._clear()
        file.seek(self._offset)
        while chunk := file.read(_CHUNK):
            self._offset += len(chunk)
            self._mark = (self._mark + chunk[-_MARK:])[-_MARK:]
            self._take(chunk)
        self._known = known

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if self._lines % self._stride == 0 or _KEPT in line:
                row = _parsed(line)
                if row is not None:
                    self._rows.append((self._lines, row))
            self._lines += 1
            if len(self._rows) > 2 * POINTS:
                self._thin()
        if lines and (row := _parsed(lines[-1])) is not None:
            self._latest = self._rows[-1][1] if self._rows and self._rows[-1][1] == row else row

    def _thin(self) -> None:
        self._stride *= 2
        kept = [(n, row) for n, row in self._rows if n % self._stride == 0 or "eval/return_mean" in row]
        if len(kept) > POINTS * 3 // 2:  # so many evaluations that they are thinned, too
            kept = kept[::2]
        self._rows = kept


class Curves:
    """The curves that pages look at: each file is read once, however many pages show it."""

    def __init__(self) -> None:
        self._curves: dict[Path, Curve] = {}

    def read(self, file: Path) -> list[dict[str, float]]:
        """As :meth:`Curve.read`."""
        return self._curves.setdefault(file, Curve(file)).read()


def series(rows: list[dict[str, float]], name: str) -> list[tuple[float, float]]:
    """(step, value) of one metric, where it is."""
    return [(row["step"], row[name]) for row in rows if name in row]


def _parsed(line: bytes) -> dict[str, float] | None:
    """The finite numbers of a row. Nothing else may reach a chart: the browser runs some of it as code."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    numbers = {name: value for name, value in row.items() if _is_number(value)} if isinstance(row, dict) else {}
    return numbers if "step" in numbers else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST
