"""What the gates of plants say of a run's actions; environments without a gate say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class GateCounts:
    """Counts corrected actions and missed deadlines, from the infos of :class:`rlbridge.plants.PlantEnv`."""

    def __init__(self, num_envs: int) -> None:
        self._acts = self._corrected = 0
        self._misses = np.zeros(num_envs)

    def add(self, infos: dict[str, Any], valid: NDArray[np.bool_], rows: slice) -> None:
        """One step's infos, of these rows; ``valid`` are those that made a transition."""
        if "corrected" in infos:
            told = valid & infos.get("_corrected", True)
            self._acts += int(np.count_nonzero(told))
            self._corrected += int(np.count_nonzero(told & np.asarray(infos["corrected"], np.bool_)))
        if "deadline_misses" in infos:
            self._misses[rows] = infos["deadline_misses"]

    def take(self) -> dict[str, float]:
        """``plant/clipped_fraction`` since the last call, and ``plant/deadline_misses`` of the present episodes."""
        if not self._acts:
            return {}
        taken = {
            "plant/clipped_fraction": self._corrected / self._acts,
            "plant/deadline_misses": float(self._misses.sum()),
        }
        self._acts = self._corrected = 0
        return taken
