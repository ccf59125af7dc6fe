"""A policy's way from observations to outputs, and back by hand."""

from __future__ import annotations

from torch import Tensor

from rlbridge.learn.backprop import Memory, backprop
from rlbridge.learn.policy import Policy


class Actor:
    """See :mod:`rlbridge.learn.backprop`.

    Args:
        policy: the networks.
        memory: which others may use too, while this is not under way.
        shared: its trunk is the critic's to go through and to train; here it begins with that one's features.
    """

    def __init__(self, policy: Policy, memory: Memory, shared: bool = False) -> None:
        self.policy, self.shared = policy, shared
        nets = [policy.head] if shared else [policy.trunk, policy.head]
        self.nets = backprop(*nets, memory=memory)

    def forward(self, observation: Tensor, features: Tensor | None = None) -> Tensor:
        """Encoded observations ``[B, *shape]`` (and, where the trunk is shared, the critic's features of them) -> the
        distribution's parameters ``[B, outputs]``."""
        if self.shared:
            assert features is not None
            return self.nets.forward(features)
        return self.nets.forward(self.policy.normalised(observation))

    def backward(self, gradient: Tensor) -> None:
        """From the loss's gradient with respect to the outputs to that with respect to the parameters."""
        self.nets.backward(gradient)
