"""Action values Q(s, a) for continuous actions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlbridge.config import NetworkShape
from rlbridge.learn.backprop import Memory, Tape, backprop
from rlbridge.learn.conv import Convolutions, network_for
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.nets import MLP
from rlbridge.learn.policy import Policy


class Critic(nn.Module):
    """One or two action-value networks; before them, a trunk where observations are images or it is shared.

    With a trunk of its own, images go through its convolutions (one stack for both twins) and the action joins where
    the hidden layers begin. A shared trunk is the policy's, hidden layers and all, and the critic's to train: the
    policy sees what comes out of it, but its loss does not move it (Yarats et al. 2021).

    Args:
        policy: whose observations and actions it judges.
        network: the settings.
        initialiser: draws the weights.
        twins: 1, or 2 for clipped double Q-learning.
    """

    def __init__(self, policy: Policy, network: NetworkShape, initialiser: Initialiser, twins: int) -> None:
        super().__init__()
        self.normaliser, self.shared = policy.normaliser, network.shared
        self.trunk: MLP | Convolutions | None = None
        if network.shared:
            self.trunk = policy.trunk
        elif policy.encoder.image:
            self.trunk = network_for(policy.encoder, network._replace(hidden=[]), initialiser)
        self.size = policy.encoder.size if self.trunk is None else self.trunk.size
        self.heads: list[MLP] = []
        self.width = policy.actions.width
        for number in range(twins):
            head = MLP(self.size + self.width, network.hidden, 1, network.activation, 1.0, initialiser)
            self.add_module(f"head{number}", head)
            self.heads.append(head)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` and raw actions ``[B, width]`` -> ``[twins, B]``."""
        rows = observation if self.normaliser is None else self.normaliser(observation)
        both = torch.cat([rows if self.trunk is None else self.trunk(rows), action], 1)
        return torch.stack([head(both).squeeze(1) for head in self.heads])

    def leaves_to(self, policy: Policy) -> nn.Module:
        """The part of ``policy`` that its own loss trains: all but a shared trunk."""
        return policy.head if self.shared else policy


class Judge:
    """A critic's way forward, and back by hand: see :mod:`rlbridge.learn.backprop`.

    Args:
        critic: the networks.
        memories: at least one for each twin, since they are under way at the same time.
    """

    def __init__(self, critic: Critic, memories: Sequence[Memory]) -> None:
        self.critic = critic
        self.trunk = None if critic.trunk is None else backprop(critic.trunk)
        self.heads = [Tape(head, memory=memory) for head, memory in zip(critic.heads, memories, strict=False)]

    def features(self, observation: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` -> what the networks see of them ``[B, size]``."""
        rows = observation if self.critic.normaliser is None else self.critic.normaliser(observation)
        return rows if self.trunk is None else self.trunk.forward(rows)

    def values(self, features: Tensor, action: Tensor, twins: int | None = None) -> Tensor:
        """Features ``[B, size]`` and raw actions ``[B, width]`` -> ``[twins, B]``, all or of the first ``twins``."""
        both = torch.cat([features, action], 1)
        return torch.stack([head.forward(both).squeeze(1) for head in self.heads[:twins]])

    def backward(self, gradient: Tensor) -> None:
        """From the loss's gradient with respect to ``values`` ``[twins, B]`` to that with respect to all parameters,
        the trunk's among them."""
        to_features = [
            head.backward(slope.unsqueeze(1), to_input=self.trunk is not None)
            for head, slope in zip(self.heads, gradient, strict=True)
        ]
        if self.trunk is not None:
            self.trunk.backward(torch.stack(to_features).sum(0)[:, : self.critic.size].contiguous())

    def to_action(self, gradient: Tensor, twin: Tensor | None = None) -> Tensor:
        """From the loss's gradient with respect to one value a row ``[B]`` to that with respect to the actions
        ``[B, width]``; the parameters' are left alone.

        Args:
            gradient: ``[B]``.
            twin: ``[B]``, whose value it is; None: the first one's. Only its rows go back through each.
        """
        slope = gradient.unsqueeze(1)
        if twin is None:
            return self.heads[0].to_input(slope)[:, self.critic.size :]
        found = slope.new_empty(len(slope), self.critic.width)
        for number, head in enumerate(self.heads):
            rows = (twin == number).nonzero().squeeze(1)
            found[rows] = head.to_input(slope.index_select(0, rows), rows)[:, self.critic.size :]
        return found
