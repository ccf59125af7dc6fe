"""The gas turbine as a plant: an island's only machine, whose load changes; following it, or tuning its controllers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rowen import RATED_EXHAUST, STEP, Gains, advance, demand, exhaust_temperature, load_reference, steady_state

from rlbridge.plants import Reading, Signal, Value

STAGE, FIRST_STAGE = 15.0, 5.0
"""Seconds between two changes of the load; the first one comes after 5 s."""
STAGES = 16
"""Drawn at the start of an episode; a longer one goes through them again."""
START_LOADS, LOADS, LARGEST_CHANGE = (0.3, 0.8), (0.3, 0.9), 0.25
"""[pu]. At 0.9 the steady exhaust is 895 °F: what is too hot, is so only for a while."""

OBSERVED = (
    Signal("speed", "observation", 0.5, 1.5, "pu"),
    Signal("power", "observation", 0.0, 1.2, "pu"),
    Signal("fuel", "observation", -0.5, 2.0, "pu"),
    Signal("exhaust", "observation", -500.0, 2000.0, "°F"),
    Signal("governor_demand", "observation", -60.0, 60.0, "pu"),
    Signal("temperature_demand", "observation", -60.0, 60.0, "pu"),
    Signal("squared_error", "monitor", 0.0, 1e3, "pu² s"),
    Signal("over_temperature", "monitor", 0.0, 1e3, "s"),
)
FOLLOWING = (Signal("load_reference", "action", 0.0, 1.1, "pu", max_rate=0.2),)
"""What the governor adds to its droop: the demand at rated speed."""
TUNING = (
    Signal("droop", "action", 0.02, 0.08, "pu"),
    Signal("reset", "action", 0.0, 8.0, "1/s"),
    Signal("temperature_gain", "action", 1.0, 10.0, "s"),
    Signal("temperature_time", "action", 100.0, 500.0, "°F s"),
)
"""The gains of the built-in controllers, see :class:`rowen.Gains`."""


class GasTurbine:
    """``num_envs`` turbines, each alone on its island: a :class:`~rlbridge.plants.BatchPlant`.

    An episode begins in the steady state of a load between 0.3 and 0.8, with the published gains. The loads that follow
    are drawn at its start from the row's own generator; ``options`` may give them instead: ``{"loads": [0.5, 0.6]}``,
    of which the last one stays.

    Beside what is observed there are two monitors, both summed over the time since the last reading but one:
    ``squared_error``, the integral of ``(1 - speed)²``, and ``over_temperature``, the seconds with exhaust gas above
    950 °F. They are exact; ``exhaust`` is what the thermocouple shows, seconds late.

    Args:
        action: ``following``: the governor's load reference. ``tuning``: the gains of governor and temperature control.
    """

    def __init__(self, num_envs: int = 1, action: Literal["following", "tuning"] = "following") -> None:
        self.signals = OBSERVED + (FOLLOWING if action == "following" else TUNING)
        self._tuning = action == "tuning"
        self.num_envs = num_envs
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._loads = np.full((num_envs, STAGES), 0.5)
        self._seconds = np.zeros(num_envs)
        self._squared_error, self._over_temperature = np.zeros(num_envs), np.zeros(num_envs)
        self.state = steady_state(self._loads[:, 0])
        self.reference = np.asarray(load_reference(self._loads[:, 0]))
        self.gains = Gains(*(np.full(num_envs, gain) for gain in astuple(Gains())))

    def start_rows(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], options: Mapping[str, Any]) -> None:
        """Put these rows into a steady state and decide the loads to come."""
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self._generators[row] = np.random.default_rng(seeds[row])
            self._loads[row] = _given(options["loads"]) if "loads" in options else _drawn(self._generators[row])
        first = self._loads[:, 0]
        self.state = np.where(rows, steady_state(first), self.state)
        self.reference = np.where(rows, load_reference(first), self.reference)
        now, published = self.gains, Gains()
        self.gains = Gains(
            np.where(rows, published.droop, now.droop),
            np.where(rows, published.reset, now.reset),
            np.where(rows, published.temperature_gain, now.temperature_gain),
            np.where(rows, published.temperature_time, now.temperature_time),
        )
        for gone in (self._seconds, self._squared_error, self._over_temperature):
            gone[rows] = 0.0

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """All rows, the first with this seed."""
        seeds = [None if seed is None else seed + row for row in range(self.num_envs)]
        self.start_rows(np.ones(self.num_envs, np.bool_), seeds, options)

    def read(self) -> Reading:
        """Per unit, °F and seconds; ``time`` is that of the row that has run longest."""
        governor, temperature = demand(self.state, self.gains)
        values: dict[str, Value] = {
            "speed": self.state[0],
            "power": self._power(),
            "fuel": self.state[4],
            "exhaust": self.state[7],
            "governor_demand": governor,
            "temperature_demand": temperature,
            "squared_error": self._squared_error,
            "over_temperature": self._over_temperature,
        }
        if self._tuning:
            values.update({signal.name: getattr(self.gains, signal.name) for signal in TUNING})
        else:
            values["load_reference"] = self.reference
        return Reading(values, float(self._seconds.max()))

    def write(self, commands: Mapping[str, Value]) -> None:
        """Set the load reference, or the gains."""
        full = {name: np.broadcast_to(np.asarray(value), self.num_envs) for name, value in commands.items()}
        if self._tuning:
            self.gains = Gains(**{signal.name: full[signal.name] for signal in TUNING})
        else:
            self.reference = full["load_reference"]

    def advance(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        power, steps = self._power(), math.ceil(dt / STEP - 1e-9)
        step = dt / steps
        self._squared_error, self._over_temperature = np.zeros(self.num_envs), np.zeros(self.num_envs)
        for _ in range(steps):
            self.state = advance(self.state, step, power, self.reference, self.gains)
            self._squared_error += step * (1.0 - self.state[0]) ** 2
            self._over_temperature += step * (exhaust_temperature(self.state[4], self.state[0]) > RATED_EXHAUST)
        self._seconds = self._seconds + dt

    def safe_action(self) -> Mapping[str, float]:
        """Idle; for tuning, the published gains."""
        if not self._tuning:
            return {"load_reference": 0.0}
        return {signal.name: float(getattr(Gains(), signal.name)) for signal in TUNING}

    def close(self) -> None:
        """Nothing to let go of."""

    def _power(self) -> NDArray[np.float64]:
        stage = ((self._seconds + STAGE - FIRST_STAGE) // STAGE).astype(np.int64) % STAGES
        return self._loads[np.arange(self.num_envs), stage]


def _drawn(generator: np.random.Generator) -> NDArray[np.float64]:
    loads = np.empty(STAGES)
    loads[0] = generator.uniform(*START_LOADS)
    for stage in range(1, STAGES):
        loads[stage] = np.clip(loads[stage - 1] + generator.uniform(-LARGEST_CHANGE, LARGEST_CHANGE), *LOADS)
    return loads


def _given(loads: Sequence[float]) -> NDArray[np.float64]:
    return np.array([*loads, *[loads[-1]] * STAGES][:STAGES], np.float64)
