"""A stirred tank with an electric heater: replace the equations, or the whole class, by your own plant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbridge.plants import Reading, Signal

MASS, HEAT_CAPACITY = 50.0, 4.19  # kg, kJ/(kg K)
INFLOW = 0.1  # kg/s


class HeatedTank:
    """Water flows through a tank; a heater warms it. Inflow temperature wanders, 15 °C on average."""

    signals = (
        Signal("temperature", "observation", 0.0, 100.0, "°C"),
        Signal("inflow_temperature", "observation", 0.0, 40.0, "°C"),
        Signal("heater", "action", 0.0, 40.0, "kW", max_rate=2.0),
    )

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """A new episode, at 30 °C and with the heater at 5 kW."""
        self.random = np.random.default_rng(seed)
        self.temperature, self.inflow, self.heater, self.time = 30.0, 15.0, 5.0, 0.0

    def read(self) -> Reading:
        """What the instruments show."""
        values = {"temperature": self.temperature, "inflow_temperature": self.inflow, "heater": self.heater}
        return Reading(values, self.time)

    def write(self, commands: Mapping[str, Any]) -> None:
        """The heater's new power."""
        self.heater = float(commands["heater"])

    def safe_action(self) -> dict[str, float]:
        """Off."""
        return {"heater": 0.0}

    def advance(self, dt: float) -> None:
        """Energy balance: mass · c · dT/dt = inflow · c · (T_in - T) + heater."""
        self.inflow = float(np.clip(self.inflow + 0.1 * (15.0 - self.inflow) + self.random.normal(0.0, 0.5), 5.0, 25.0))
        exchange = INFLOW * HEAT_CAPACITY * (self.inflow - self.temperature)
        self.temperature += dt * (exchange + self.heater) / (MASS * HEAT_CAPACITY)
        self.time += dt

    def close(self) -> None:
        """Nothing to let go of."""
