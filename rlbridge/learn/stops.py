"""When a run ends before its last step: signals, wall time, and a ``stop`` file."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.5


class Stopped(Exception):
    """Ends a run cleanly; ``reason`` is SIGINT, SIGTERM, wall_time, stop_file, target_return or a caller's own."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stops:
    """Inside its ``with`` block, SIGINT and SIGTERM ask for a clean end; a second SIGINT interrupts at once.

    Signal handlers belong to the main thread; in another one, signals are left as they are.
    """

    def __init__(self, stop_file: Path, max_seconds: float | None) -> None:
        self._asked: str | None = None
        self._stop_file = stop_file
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._next_look = 0.0
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {
                number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Return if nothing asks for an end. Cheap: called once a step.

        Raises:
            Stopped: something does.
        """
        now = time.monotonic()
        if self._asked is not None:
            raise Stopped(self._asked)
        if self._deadline is not None and now >= self._deadline:
            raise Stopped("wall_time")
        if now >= self._next_look:
            self._next_look = now + SECONDS_BETWEEN_LOOKS
            if self._stop_file.exists():
                raise Stopped("stop_file")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked is not None:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number).name
