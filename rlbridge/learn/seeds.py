"""One seed becomes many that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """The seeds of everything random in a run; each has a generator of its own, and no global one is touched."""

    run: int
    weights: int
    actions: int
    minibatches: int
    environments: int
    evaluation: int
    afterwards: int
    """For evaluations that a user asks for when the run is over: episodes that chose nothing."""
    exploration: int
    replay: int

    @classmethod
    def from_run(cls, seed: int) -> Seeds:
        """All of them from ``run.seed``; 31 bits each, since old environments take no more."""
        return cls(seed, *(int(word) >> 1 for word in np.random.SeedSequence(seed).generate_state(8)))

    def of_reset(self, transitions: int) -> int:
        """The seed of a reset after so many transitions of the run: new episodes, not those of the start again."""
        if not transitions:
            return self.environments
        return int(np.random.SeedSequence((self.run, transitions)).generate_state(1)[0]) >> 1
