"""One batch of environments in several parts that step by turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray


class SplitEnvs:
    """The rows of one batch, in order, in vector environments of their own.

    Each part is stepped by itself; as a whole they have what describes a ``VectorEnv``, and no ``step``.
    """

    def __init__(self, parts: Sequence[VectorEnv[Any, Any, Any]]) -> None:
        self.parts = parts
        self.num_envs = sum(part.num_envs for part in parts)
        self.metadata = parts[0].metadata
        self.single_observation_space = parts[0].single_observation_space
        self.single_action_space = parts[0].single_action_space

    def bridge_metrics(self) -> dict[str, float]:
        """Those of the remote parts: the slowest one's round trips, the sums of what is counted."""
        told = [part.bridge_metrics() for part in self.parts if hasattr(part, "bridge_metrics")]
        names = told[0] if told else ()
        return {name: (max if "rtt" in name else sum)(one[name] for one in told) for name in names}


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One array of all rows; a single part is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


Envs = VectorEnv[Any, Any, Any] | SplitEnvs


def parts_of(envs: Envs) -> Sequence[VectorEnv[Any, Any, Any]]:
    """What is stepped by itself."""
    return envs.parts if isinstance(envs, SplitEnvs) else (envs,)
