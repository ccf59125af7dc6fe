"""The quadruple tank as a plant: two pumps, four levels, and set points for the two lower ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tanks import PHASES, advance, steady_levels

from rlbridge.plants import Reading, Signal, Value

STAGES = 16
"""Drawn at the start of an episode; a longer one goes through them again."""
SWING = 2.0
"""A set point is at most so far from the operating point [cm]."""

SIGNALS = (
    Signal("level1", "observation", 0.0, 30.0, "cm"),
    Signal("level2", "observation", 0.0, 30.0, "cm"),
    Signal("level3", "observation", 0.0, 30.0, "cm"),
    Signal("level4", "observation", 0.0, 30.0, "cm"),
    Signal("set_point1", "observation", 0.0, 20.0, "cm"),
    Signal("set_point2", "observation", 0.0, 20.0, "cm"),
    Signal("pump1", "action", 0.0, 10.0, "V"),
    Signal("pump2", "action", 0.0, 10.0, "V"),
)


class QuadrupleTank:
    """``num_envs`` processes: a :class:`~rlbridge.plants.BatchPlant`.

    An episode begins at Johansson's operating point; the set points are drawn at its start, and stay near that point.
    A tank of 20 cm would overflow in the laboratory; here the interlock in serve.yaml keeps it from doing so.

    Args:
        phase: how the valves stand: ``minimum`` or ``non-minimum``, in which water first goes the wrong way.
        stage: seconds between two changes of the set points.
    """

    signals = SIGNALS

    def __init__(
        self, num_envs: int = 1, phase: Literal["minimum", "non-minimum"] = "minimum", stage: float = 200.0
    ) -> None:
        self.num_envs, self.stage = num_envs, stage
        self.phase = PHASES[phase]
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self._point = np.array(self.phase.voltages)[:, np.newaxis] * np.ones(num_envs)
        self._rest = steady_levels(self._point, self.phase)
        self._set_points = np.tile(self._rest[:2, :, np.newaxis], STAGES)
        self._seconds = np.zeros(num_envs)
        self.levels, self.pumps = self._rest, self._point

    def start_rows(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], options: Mapping[str, Any]) -> None:
        """Put these rows at the operating point and draw their set points, the first of which is that point's."""
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self._generators[row] = np.random.default_rng(seeds[row])
            swing = self._generators[row].uniform(-SWING, SWING, (2, STAGES))
            swing[:, 0] = 0.0
            self._set_points[:, row] = self._rest[:2, row, np.newaxis] + swing
        self.levels = np.where(rows, self._rest, self.levels)
        self.pumps = np.where(rows, self._point, self.pumps)
        self._seconds = np.where(rows, 0.0, self._seconds)

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """All rows, the first with this seed."""
        seeds = [None if seed is None else seed + row for row in range(self.num_envs)]
        self.start_rows(np.ones(self.num_envs, np.bool_), seeds, options)

    def read(self) -> Reading:
        """Levels in cm and pumps in V; ``time`` is that of the row that has run longest."""
        stage = (self._seconds // self.stage).astype(np.int64) % STAGES
        wanted = self._set_points[:, np.arange(self.num_envs), stage]
        values = dict(zip([signal.name for signal in SIGNALS], [*self.levels, *wanted, *self.pumps], strict=True))
        return Reading(values, float(self._seconds.max()))

    def write(self, commands: Mapping[str, Value]) -> None:
        """Set the pumps [V]."""
        zero = np.zeros(self.num_envs)
        first, second = commands.get("pump1", self.pumps[0]), commands.get("pump2", self.pumps[1])
        self.pumps = np.array([zero + first, zero + second])

    def advance(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        self.levels = advance(self.levels, self.pumps, self.phase, dt)
        self._seconds = self._seconds + dt

    def safe_action(self) -> Mapping[str, float]:
        """Pumps off: tanks cannot run over, only empty."""
        return {"pump1": 0.0, "pump2": 0.0}

    def close(self) -> None:
        """Nothing to let go of."""
