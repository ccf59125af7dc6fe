"""Action values Q(s, a) for continuous actions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlbridge.config import NetworkConfig
from rlbridge.learn.nets import TwinMLP
from rlbridge.learn.policy import Policy


class Critic(nn.Module):
    """One or two action-value networks.

    Args:
        policy: whose observations and actions it judges.
        network: the settings; ``shared`` puts it on top of the policy's trunk, which is then the critic's to train.
        initialiser: the generator that draws the weights.
        twins: 1, or 2 for clipped double Q-learning.
    """

    def __init__(self, policy: Policy, network: NetworkConfig, initialiser: torch.Generator, twins: int) -> None:
        super().__init__()
        self.normaliser = policy.normaliser
        self.trunk = policy.trunk if network.shared else None
        size = policy.trunk.size if network.shared else policy.encoder.size
        hidden, activation = network.hidden, network.activation
        self.heads = TwinMLP(size + policy.actions.width, hidden, activation, initialiser, twins)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` and raw actions ``[B, width]`` -> ``[twins, B]``."""
        rows = observation if self.normaliser is None else self.normaliser(observation)
        if self.trunk is not None:
            rows = self.trunk(rows)
        return self.heads(torch.cat([rows, action], 1))  # type: ignore[no-any-return]
