"""Small plants with known behaviour, for the tests; served by ``tests/plants/tanks.py:Name``."""

from __future__ import annotations

import time

import numpy as np

from rlbridge.plants import Reading, Signal

SIGNALS = (
    Signal("level", "observation", 0.0, 10.0, "m"),
    Signal("valve", "action", 0.0, 1.0, max_rate=0.25),
    Signal("pump", "action", -2.0, 2.0),
)


class LiveTank:
    """It has no ``advance``: the wall clock is its clock. Keeps a log of what was written; can be told to go wrong."""

    signals = SIGNALS

    def __init__(self) -> None:
        self.level, self.points = 5.0, {"valve": 0.5, "pump": 0.0}
        self.written: list[dict[str, float]] = []
        self.started = self.closed = 0
        self.time: float | None = None
        self.bad: frozenset[str] = frozenset()
        self.shown: dict[str, float] = {}

    def start(self, seed, options):
        self.started += 1
        self.level = float(options.get("level", 5.0))
        self.points = {"valve": 0.5, "pump": float(options.get("pump", 0.0))}

    def read(self):
        now = time.time() if self.time is None else self.time
        return Reading({"level": self.level, **self.points, **self.shown}, now, self.bad)

    def write(self, commands):
        self.points.update(commands)
        self.written.append(dict(commands))

    def safe_action(self):
        return {"valve": 0.0, "pump": -1.0}

    def close(self):
        self.closed += 1


class Tank(LiveTank):
    """A simulated one: the level integrates the valve and the pump."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def advance(self, dt):
        self.time += dt
        self.level = min(max(self.level + 0.1 * dt * (self.points["valve"] + self.points["pump"]), 0.0), 10.0)


class Tanks:
    """A batch of tanks; every row begins at a level of its own seed."""

    signals = SIGNALS

    def __init__(self, num_envs: int = 1) -> None:
        self.num_envs = num_envs
        self.level, self.time = np.full(num_envs, 5.0), 0.0
        self.points = {"valve": np.full(num_envs, 0.5), "pump": np.zeros(num_envs)}
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self.bad: frozenset[str] = frozenset()

    def start(self, seed, options):
        raise NotImplementedError

    def start_rows(self, rows, seeds, options):
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self._generators[row] = np.random.default_rng(seeds[row])
            self.level[row] = self._generators[row].uniform(4.0, 6.0)
            self.points["valve"][row], self.points["pump"][row] = 0.5, 0.0

    def read(self):
        return Reading({"level": self.level, **self.points}, self.time, self.bad)

    def write(self, commands):
        self.points = {name: np.array(value) for name, value in commands.items()}

    def safe_action(self):
        return {"valve": 0.0, "pump": -1.0}

    def close(self):
        pass

    def advance(self, dt):
        self.time += dt
        self.level = np.clip(self.level + 0.1 * dt * (self.points["valve"] + self.points["pump"]), 0.0, 10.0)


def reward(transition):
    """The task of the tests: how far the level is from 6."""
    return -abs(transition.after["level"] - 6.0)
