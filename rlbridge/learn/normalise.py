"""Running statistics that bring observations and rewards to a common scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LIMIT = 10.0
"""What is normalised is limited to plus and minus this."""


class Normaliser(nn.Module):
    """Shifts and scales rows ``[B, size]`` by their running mean and deviation, limited to ±``LIMIT``.

    The statistics are buffers: they travel with the policy, and only :meth:`update` moves them.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        # What forward uses, in float32: derived, but kept as buffers so that a loaded policy is ready.
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, rows: Tensor) -> Tensor:
        return ((rows - self.shift) * self.scale).clamp(-LIMIT, LIMIT)

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in ``rows`` ``[B, size]``, merging means and variances as Chan et al. (1979)."""
        rows = rows.double()
        batch = float(rows.shape[0])
        total = self.count + batch
        delta = rows.mean(0) - self.mean
        squares = self.variance * self.count + rows.var(0, correction=0) * batch
        self.variance.copy_((squares + delta.square() * self.count * batch / total) / total)
        self.mean.add_(delta * batch / total)
        self.count.copy_(total)
        self.shift.copy_(self.mean)
        self.scale.copy_(1.0 / (self.variance + 1e-8).sqrt())


class RewardScale:
    """Divides rewards by the running deviation of the discounted return, limited to ±``LIMIT``; never shifts them.

    Only what the learner sees is scaled; reported returns stay raw.
    """

    def __init__(self, num_envs: int, gamma: float) -> None:
        self.gamma = gamma
        self.returns = np.zeros(num_envs)
        self.mean, self.variance, self.count = 0.0, 1.0, 0.0

    def __call__(self, rewards: NDArray[np.float32], ended: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Take in a rollout's rewards ``[T, N]`` (``ended`` likewise) and give them back scaled."""
        seen = np.empty(rewards.shape)
        for t in range(len(rewards)):
            self.returns = self.returns * self.gamma + rewards[t]
            seen[t] = self.returns
            self.returns[ended[t]] = 0.0
        batch, total = seen.size, self.count + seen.size
        delta = float(seen.mean()) - self.mean
        squares = self.variance * self.count + float(seen.var()) * batch
        self.variance = (squares + delta**2 * self.count * batch / total) / total
        self.mean += delta * batch / total
        self.count = total
        scaled: NDArray[np.float32] = np.clip(rewards / np.sqrt(self.variance + 1e-8), -LIMIT, LIMIT)
        return scaled.astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {
            "returns": self.returns.copy(),
            "mean": self.mean,
            "variance": self.variance,
            "count": self.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.returns = state["returns"].copy()
        self.mean, self.variance, self.count = state["mean"], state["variance"], state["count"]
