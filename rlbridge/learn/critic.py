"""Action values Q(s, a) for continuous actions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlbridge.config import NetworkShape
from rlbridge.learn.conv import Convolutions, network_for
from rlbridge.learn.nets import MLP, TwinMLP
from rlbridge.learn.policy import Policy


class Critic(nn.Module):
    """One or two action-value networks; before them, a trunk where observations are images or it is shared.

    With a trunk of its own, images go through its convolutions (one stack for both twins) and the action joins where
    the hidden layers begin. A shared trunk is the policy's, hidden layers and all, and the critic's to train: the
    policy sees what comes out of it, but its loss does not move it (Yarats et al. 2021).

    Args:
        policy: whose observations and actions it judges.
        network: the settings.
        initialiser: the generator that draws the weights.
        twins: 1, or 2 for clipped double Q-learning.
    """

    def __init__(self, policy: Policy, network: NetworkShape, initialiser: torch.Generator, twins: int) -> None:
        super().__init__()
        self.normaliser, self.shared = policy.normaliser, network.shared
        self.trunk: MLP | Convolutions | None = None
        if network.shared:
            self.trunk = policy.trunk
        elif policy.encoder.image:
            self.trunk = network_for(policy.encoder, network._replace(hidden=[]), initialiser)
        size = policy.encoder.size if self.trunk is None else self.trunk.size
        self.heads = TwinMLP(size + policy.actions.width, network.hidden, network.activation, initialiser, twins)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` and raw actions ``[B, width]`` -> ``[twins, B]``."""
        return self.judge(self.features(observation), action)

    def features(self, observation: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` -> what :meth:`judge` takes."""
        rows = observation if self.normaliser is None else self.normaliser(observation)
        return rows if self.trunk is None else self.trunk(rows)

    def judge(self, features: Tensor, action: Tensor) -> Tensor:
        """Features ``[B, size]`` and raw actions ``[B, width]`` -> ``[twins, B]``."""
        return self.heads(torch.cat([features, action], 1))  # type: ignore[no-any-return]

    def judge_only(self, features: Tensor, action: Tensor, twins: int | None = None) -> Tensor:
        """The same for a step of the policy, by the first ``twins`` networks if that many will do: gradients flow to
        the action alone, and cost less."""
        return self.heads.fixed(torch.cat([features, action], 1), twins)

    def features_for(self, policy: Policy, observation: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's features and ``policy``'s for a step of the policy, whose loss moves neither the critic nor a
        shared trunk; so that images go through that once."""
        with torch.no_grad():
            ours = self.features(observation)
        return ours, ours if self.shared else policy.features(observation)

    def leaves_to(self, policy: Policy) -> nn.Module:
        """The part of ``policy`` that its own loss trains: all but a shared trunk."""
        return policy.head if self.shared else policy
