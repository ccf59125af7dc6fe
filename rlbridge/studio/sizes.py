"""Disk use of runs."""

from __future__ import annotations

import time
from collections.abc import Callable


class Sizes:
    """Disk use by name, asked for anew after some seconds: a run has thousands of files at times."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._known: dict[str, tuple[float, int]] = {}

    def read(self, name: str, measure: Callable[[], int]) -> int:
        at, size = self._known.get(name, (-self._seconds, 0))
        if time.monotonic() - at >= self._seconds:
            size = measure()
            self._known[name] = (time.monotonic(), size)
        return size
