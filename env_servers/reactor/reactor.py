"""The reactor as a plant: a cooled tank whose temperature is to follow a set point, while its feed changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cstr import FEED_TEMPERATURE, advance
from numpy.typing import NDArray

from rlbridge.plants import Reading, Signal, Value

SAFE_COOLANT = 290.0
"""Cold enough to stop an ignition that has just begun [K]."""
SET_POINTS = (318.0, 335.0)
"""Drawn from this range [K]; at 304 K and above the coolant alone would ignite the reactor."""
FEED_SWING = 5.0
"""The feed is at most so much warmer or colder than 350 K."""
STAGE = 90.0
"""Seconds between two set points; the feed changes half a stage later."""
STAGES = 16
"""Drawn at the start of an episode; a longer one goes through them again."""

SIGNALS = (
    Signal("temperature", "observation", 250.0, 600.0, "K"),
    Signal("concentration", "observation", 0.0, 1.0, "mol/L"),
    Signal("set_point", "observation", 300.0, 340.0, "K"),
    Signal("feed_temperature", "observation", 340.0, 360.0, "K"),
    Signal("peak", "monitor", 250.0, 600.0, "K"),
    Signal("coolant", "action", 290.0, 312.0, "K", max_rate=2.0 / 3.0),
)


class Reactor:
    """``num_envs`` reactors with a clock of their own each: a :class:`~rlbridge.plants.BatchPlant`.

    An episode begins in the steady state of 300 K coolant. Everything that is random about it (set points, feed) is
    drawn at its start from the row's own generator.

    Besides what is observed, the monitor ``peak`` is the highest temperature [K] since the last reading but one: what
    happened between two readings too.
    """

    signals = SIGNALS

    def __init__(self, num_envs: int = 1) -> None:
        self.num_envs = num_envs
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._set_points = np.zeros((num_envs, STAGES))
        self._feeds = np.zeros((num_envs, STAGES))
        self._seconds = np.zeros(num_envs)
        self.concentration, self.temperature = np.full(num_envs, 0.87725), np.full(num_envs, 324.475)
        self.coolant = np.full(num_envs, 300.0)
        self._peak = self.temperature

    def start_rows(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], options: Mapping[str, Any]) -> None:
        """Put these rows into the steady state of 300 K coolant and draw what will happen to them."""
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self._generators[row] = np.random.default_rng(seeds[row])
            self._set_points[row] = self._generators[row].uniform(*SET_POINTS, STAGES)
            self._feeds[row] = FEED_TEMPERATURE + self._generators[row].uniform(-FEED_SWING, FEED_SWING, STAGES)
        self.concentration = np.where(rows, 0.87725, self.concentration)
        self.temperature = np.where(rows, 324.475, self.temperature)
        self.coolant = np.where(rows, 300.0, self.coolant)
        self._peak = np.where(rows, self.temperature, self._peak)
        self._seconds = np.where(rows, 0.0, self._seconds)

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """All rows, the first with this seed."""
        seeds = [None if seed is None else seed + row for row in range(self.num_envs)]
        self.start_rows(np.ones(self.num_envs, np.bool_), seeds, options)

    def read(self) -> Reading:
        """Temperatures in K, the concentration in mol/L; ``time`` is that of the row that has run longest."""
        return Reading(
            {
                "temperature": self.temperature,
                "concentration": self.concentration,
                "set_point": self._now(self._set_points, 0.0),
                "feed_temperature": self._now(self._feeds, 0.5 * STAGE),
                "peak": self._peak,
                "coolant": self.coolant,
            },
            float(self._seconds.max()),
        )

    def write(self, commands: Mapping[str, Value]) -> None:
        """Set the coolant's temperature [K]."""
        self.coolant = self.coolant * 0.0 + commands["coolant"]

    def advance(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        feed = self._now(self._feeds, 0.5 * STAGE)
        self.concentration, self.temperature, peak = advance(
            self.concentration, self.temperature, self.coolant, feed, dt / 60.0
        )
        self._peak = np.asarray(peak)
        self._seconds = self._seconds + dt

    def safe_action(self) -> Mapping[str, float]:
        return {"coolant": SAFE_COOLANT}

    def close(self) -> None:
        """Nothing to let go of."""

    def _now(self, plan: NDArray[np.float64], delay: float) -> NDArray[np.float64]:
        stage = ((self._seconds + delay) // STAGE).astype(np.int64) % STAGES
        return plan[np.arange(self.num_envs), stage]
