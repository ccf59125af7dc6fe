"""How long, and how often, a client asks again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Retry:
    """Patience with a server that cannot be reached.

    Attributes:
        timeout: seconds allowed for one attempt.
        total: seconds after which no further attempt is begun; 0: one attempt only.
        first_pause, longest_pause: seconds between attempts, doubling; each is drawn between half and the whole of it,
            so that many clients of one server do not come back at the same instant.
    """

    timeout: float = 60.0
    total: float = 120.0
    first_pause: float = 0.05
    longest_pause: float = 2.0

    def pauses(self) -> Iterator[float]:
        """Pauses to make before each further attempt; ends when the time is used up."""
        end = time.monotonic() + self.total
        pause = self.first_pause
        while True:
            wait = pause * random.uniform(0.5, 1.0)
            if time.monotonic() + wait >= end:
                return
            yield wait
            pause = min(2 * pause, self.longest_pause)
