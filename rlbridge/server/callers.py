"""How much one caller may take of a server: sessions, and opens a second."""

from __future__ import annotations

import time
from collections import Counter

from rlbridge.server.limits import ServerLimits
from rlbridge.wire.errors import CapacityExhausted


class Callers:
    """Counts by caller. Not thread-safe: the host calls it under its lock."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._sessions: Counter[str] = Counter()
        self._second = 0
        self._opens: Counter[str] = Counter()  # within the present second

    def admit(self, caller: str) -> None:
        """Count one more session.

        Raises:
            CapacityExhausted: the caller has as many as it may, or opens too fast.
        """
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._opens.clear()
        most = self._limits.max_sessions_per_client
        if most is not None and self._sessions[caller] >= most:
            raise CapacityExhausted(
                f"this client ({caller}) has {self._sessions[caller]} sessions open, one may have {most}. Close one, "
                "or serve with a larger --max-sessions-per-client.",
                limit=most,
                open=self._sessions[caller],
            )
        if self._opens[caller] >= self._limits.max_opens_per_second:
            raise CapacityExhausted(
                f"this client ({caller}) has opened {self._opens[caller]} sessions within a second; the limit is "
                f"{self._limits.max_opens_per_second}. Wait a second, or serve with a larger --max-opens-per-second.",
                limit=self._limits.max_opens_per_second,
            )
        self._opens[caller] += 1
        self._sessions[caller] += 1

    def release(self, caller: str) -> None:
        """Count one session less."""
        self._sessions[caller] -= 1
        if self._sessions[caller] <= 0:
            del self._sessions[caller]
