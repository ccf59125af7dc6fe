"""What a learner is: it knows batches and holds networks, and nothing of environments, files or time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import Target
from rlbridge.learn.policy import Policy
from rlbridge.learn.replay import Batch


class OffPolicyLearner:
    """An algorithm that learns from a replay memory. Its state is that of its attributes.

    Attributes:
        policy: what acts.
        updates: gradient steps so far.
    """

    policy: Policy
    updates: int

    def update(self, batch: Batch, measure: bool = True) -> dict[str, Tensor]:
        """One gradient step; returns ``priority`` ``[B]`` and, if asked for, ``train/*`` scalars, not waited for."""
        raise NotImplementedError

    def set_learning_rate(self, rate: float) -> None:
        """For the schedule: of every optimiser."""
        for part in vars(self).values():
            if isinstance(part, Minimiser):
                part.learning_rate = rate

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on: tensors, arrays, numbers; nothing to pickle."""
        state: dict[str, Any] = {"policy_generator": self.policy.generator.get_state()}
        for name, part in vars(self).items():
            if isinstance(part, (nn.Module, Minimiser)):
                state[name] = part.state_dict()
            elif isinstance(part, Target):
                state[name] = part.net.state_dict()
            elif isinstance(part, torch.Generator):
                state[name] = part.get_state()
            elif isinstance(part, (Tensor, int, float)):
                state[name] = part
            elif isinstance(part, dict):  # tensors by name, such as the last metrics
                state[name] = dict(part)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.policy.generator.set_state(state["policy_generator"])
        for name, part in vars(self).items():
            if isinstance(part, (nn.Module, Minimiser)):
                part.load_state_dict(state[name])
            elif isinstance(part, Target):
                part.net.load_state_dict(state[name])
            elif isinstance(part, torch.Generator):
                part.set_state(state[name])
            elif isinstance(part, nn.Parameter):
                part.data.copy_(state[name])
            elif isinstance(part, Tensor):
                setattr(self, name, state[name].to(part.device))
            elif isinstance(part, dict):
                setattr(self, name, {key: tensor.to(self.policy.device) for key, tensor in state[name].items()})
            elif isinstance(part, (int, float)):
                setattr(self, name, state[name])
