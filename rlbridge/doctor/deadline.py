"""The time that a whole diagnosis may take."""

from __future__ import annotations

import time


class Deadline:
    """Runs out ``seconds`` after it was made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it has run out."""
        return time.monotonic() >= self._end

    def within(self, seconds: float) -> float:
        """How long something that may take ``seconds`` may take now; never less than a fifth of a second."""
        return max(0.2, min(seconds, self._end - time.monotonic()))
