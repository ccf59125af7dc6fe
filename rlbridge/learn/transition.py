"""What one step of N environments led to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Step(NamedTuple):
    """What one step of N environments led to.

    ``observation`` ``[N, *shape]`` are the encoded observations to act on next; ``final`` maps a row's index to the
    encoded observation its episode ended in, where ``observation`` already shows the next episode. Rows that are not
    ``valid`` are no transitions: a reset under NEXT_STEP, or a step that the bridge disowns.
    """

    observation: NDArray[Any]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    final: dict[int, NDArray[Any]]

    @classmethod
    def join(cls, parts: Sequence[Step]) -> Step:
        """The step of all rows, from those of the batch's parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            observation=np.concatenate([part.observation for part in parts]),
            reward=np.concatenate([part.reward for part in parts]),
            terminated=np.concatenate([part.terminated for part in parts]),
            truncated=np.concatenate([part.truncated for part in parts]),
            valid=np.concatenate([part.valid for part in parts]),
            final={i: row for part in parts for i, row in part.final.items()},
        )
