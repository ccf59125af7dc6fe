"""A simulated plant on the wall clock: to rehearse what a live one will do, its pace, its gate and its operators."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rlbridge.plants.plant import Reading, SimulatedPlant, Value


class RealTime:
    """Behaves as a live plant: its time passes by itself, and only its first start resets it.

    Later starts take it over as it runs.
    """

    def __init__(self, plant: SimulatedPlant) -> None:
        self._plant, self.signals = plant, plant.signals
        self._then: float | None = None

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """The first time, start the simulator."""
        if self._then is None:
            self._plant.start(seed, options)
            self._then = time.monotonic()

    def read(self) -> Reading:
        """Let the simulator catch up with the clock, and look."""
        now = time.monotonic()
        if self._then is not None and now > self._then:
            self._plant.advance(now - self._then)
        self._then = now
        reading = self._plant.read()
        return Reading(reading.values, time.time(), reading.bad)

    def write(self, commands: Mapping[str, Value]) -> None:
        """As the simulator."""
        self._plant.write(commands)

    def safe_action(self) -> Mapping[str, float]:
        """As the simulator."""
        return self._plant.safe_action()

    def close(self) -> None:
        """As the simulator."""
        self._plant.close()
