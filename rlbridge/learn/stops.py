"""When a run ends before its last step: signals, wall time, a ``stop`` file; and when it waits: a ``pause`` file."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from rlbridge.runs.folder import RunFolder

SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_OF_A_NAP = 0.05


class Stopped(Exception):
    """Ends a run cleanly; ``reason`` is SIGINT, SIGTERM, wall_time, stop_file, target_return or a caller's own."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stops:
    """Inside its ``with`` block, SIGINT and SIGTERM ask for a clean end; a second SIGINT interrupts at once.

    Signal handlers belong to the main thread; in another one, signals are left as they are.

    Args:
        folder: its ``stop`` file ends the run, its ``pause`` file holds it for as long as it is there.
        max_seconds: wall time, pauses included, after which the run ends.
        on_pause: called with True when a pause begins and with False when it has ended.
    """

    def __init__(self, folder: RunFolder, max_seconds: float | None, on_pause: Callable[[bool], object]) -> None:
        self._asked: str | None = None
        self._folder, self._on_pause = folder, on_pause
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
        """Return if nothing asks for an end, or for a pause any more. Cheap: called once a step.

        Raises:
            Stopped: something does.
        """
        if self._look() and self._folder.pause.exists():
            self._on_pause(True)
            try:
                while self._folder.pause.exists():
                    self._look()
                    time.sleep(_SECONDS_OF_A_NAP)
            finally:
                self._on_pause(False)

    def _look(self) -> bool:
        """Whether it was time to look at the folder.

        Raises:
            Stopped: something asks for an end.
        """
        now = time.monotonic()
        if self._asked is not None:
            raise Stopped(self._asked)
        if self._deadline is not None and now >= self._deadline:
            raise Stopped("wall_time")
        if now < self._next_look:
            return False
        self._next_look = now + SECONDS_BETWEEN_LOOKS
        if self._folder.stop.exists():
            raise Stopped("stop_file")
        return True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked is not None:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number).name
