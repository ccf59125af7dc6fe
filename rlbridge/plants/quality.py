"""The quality of readings: what is bad is replaced by the last good value for a while, and never by NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlbridge.plants.plant import Reading, Signal

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Quality:
    """Keeps the last good value of every signal that is read.

    A value is bad if the plant says so, leaves it out, or gives one that is not a number or outside the signal's
    range; all are bad where the plant's own clock has stood still for ``frozen_after`` seconds (None: may stand).

    Attributes:
        values: [N, S] the last good values.
        bad: [N, S] those that are held, not fresh.
        beyond: [N, S] the values, but the last number out of range where one came after the last good value; None: none
            did.
    """

    def __init__(self, signals: Sequence[Signal], n: int, frozen_after: float | None = None) -> None:
        self.signals = signals
        self.low, self.high = np.array([s.low for s in signals]), np.array([s.high for s in signals])
        self._hold = np.array([s.hold for s in signals])
        self._frozen_after = frozen_after
        self.values: Numbers = np.full((n, len(signals)), np.nan)
        self.bad: Flags = np.ones((n, len(signals)), np.bool_)
        self.beyond: Numbers | None = None
        self._outside = self.values.copy()
        self._good_at = np.full((n, len(signals)), -np.inf)
        self._plant_time, self._moved_at = -np.inf, -np.inf

    def forget(self, rows: Flags) -> None:
        """A new episode of these rows begins: nothing of the last one stands in for anything."""
        self.values[rows], self._outside[rows], self._good_at[rows] = np.nan, np.nan, -np.inf

    def take(self, reading: Reading, now: float) -> Flags:
        """Look at a reading; returns [N], the rows in which something has been bad for longer than it may be held."""
        raw = np.empty_like(self.values)
        for j, signal in enumerate(self.signals):
            value = reading.values.get(signal.name)
            raw[:, j] = np.nan if value is None or signal.name in reading.bad else value
        good = (raw >= self.low) & (raw <= self.high)  # False for NaN
        outside = np.isfinite(raw) & ~good
        if self._frozen_after is not None:
            if reading.time != self._plant_time and not np.isnan(reading.time):  # NaN is never the same, and no clock
                self._plant_time, self._moved_at = reading.time, now
            elif now - self._moved_at > self._frozen_after:
                good[:] = False
        self.bad = ~good
        if good.all():
            self.values = raw
            self._good_at[:] = now
            self._outside[:], self.beyond = np.nan, None
            return np.zeros(len(raw), np.bool_)
        self.values = np.where(good, raw, self.values)
        self._good_at[good] = now
        self._outside = np.where(outside, raw, np.where(good, np.nan, self._outside))
        beyond = ~np.isnan(self._outside)
        self.beyond = np.where(beyond, self._outside, self.values) if beyond.any() else None
        failed: Flags = np.any((now - self._good_at) > self._hold, axis=1)
        return failed
