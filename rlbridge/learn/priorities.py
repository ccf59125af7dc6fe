"""Which transitions deserve another look: proportional prioritisation (Schaul et al. 2016, appendix B.2.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Priorities:
    """A sum tree over ``size`` rows: a row is drawn with probability priority^alpha / sum.

    New rows get the largest priority so far, so that each is seen once soon.
    """

    def __init__(self, size: int, alpha: float) -> None:
        self.alpha = alpha
        self.leaves = 1 << (size - 1).bit_length()
        self.tree = np.zeros(2 * self.leaves)  # node k is the sum of 2k and 2k + 1; the leaves are the last half
        self.largest = 1.0

    def add(self, row: NDArray[np.int64]) -> None:
        """Rows ``[N]`` have been written."""
        self._set(row, np.full(len(row), self.largest**self.alpha))

    def update(self, row: NDArray[np.int64], error: NDArray[np.float32]) -> None:
        """Rows ``[B]`` were learned from, with these absolute errors ``[B]``."""
        priority = np.abs(error).astype(np.float64) + 1e-6  # none is never drawn again
        self.largest = max(self.largest, float(priority.max()))
        self._set(row, priority**self.alpha)

    def sample(self, size: int, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows ``[size]``, one from each of as many equal parts of the sum, and their probabilities ``[size]``."""
        total = self.tree[1]
        left = (np.arange(size) + generator.random(size)) * (total / size)
        node = np.ones(size, np.int64)
        while node[0] < self.leaves:
            node *= 2
            over = left >= self.tree[node]
            # Rounding may lead past the last row that has a priority; there is nothing to the right then.
            over &= self.tree[node + 1] > 0.0
            left -= np.where(over, self.tree[node], 0.0)
            node += over
        return node - self.leaves, self.tree[node] / total

    def _set(self, row: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        node = row + self.leaves
        self.tree[node] = value
        while len(node) and node[0] > 1:  # none, where no row of a step was a transition
            node = np.unique(node // 2)
            self.tree[node] = self.tree[2 * node] + self.tree[2 * node + 1]

    def state_dict(self) -> dict[str, Any]:
        return {"tree": self.tree, "largest": self.largest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tree[:] = state["tree"]
        self.largest = state["largest"]
