"""A run's metrics for a chart: read as they grow, and thinned so that a chart of any run has as many points."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

POINTS = 500
_KEPT = b'"eval/'
_CHUNK = 1 << 22


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
        self._rest = b""
        self._rows: list[tuple[int, dict[str, float]]] = []  # with each row's line number
        self._latest: dict[str, float] | None = None

    def read(self) -> list[dict[str, float]]:
        """All rows kept, by rising step, and always the latest; what was written since the last call is read.

        A run that was resumed has taken back its last rows: then everything is read anew.
        """
        with self._lock:
            try:
                size = self._file.stat().st_size
            except OSError:
                size = 0
            if size < self._offset:
                self._clear()
            if size > self._offset:
                with self._file.open("rb") as file:
                    file.seek(self._offset)
                    while chunk := file.read(_CHUNK):
                        self._offset += len(chunk)
                        self._take(chunk)
            rows = [row for _, row in self._rows]
            return rows if self._latest is None or (rows and rows[-1] is self._latest) else [*rows, self._latest]

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
    try:
        row: Any = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), (int, float)) else None
