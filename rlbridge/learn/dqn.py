"""Deep Q-learning (Mnih et al. 2015), with double learning, dueling and importance weights as flags."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rlbridge.config import DQNConfig
from rlbridge.learn.backprop import backprop
from rlbridge.learn.learner import OffPolicyLearner
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import Target
from rlbridge.learn.policy import Policy
from rlbridge.learn.replay import Batch


class DQN(OffPolicyLearner):
    """Learns action values from batches: holds the Q-network, its target and their optimiser.

    Args:
        config: the settings; dueling has already shaped the policy, prioritised replay and n-step the batches.
        policy: its outputs are the action values Q(s, .).
    """

    def __init__(self, config: DQNConfig, policy: Policy) -> None:
        self.config, self.policy = config, policy
        self.target = Target(policy)
        self.minimiser = Minimiser(policy.parameters(), config.learning_rate, config.max_gradient_norm)
        self.network = backprop(policy.trunk, policy.head)
        self.updates = 0

    @torch.no_grad()
    def update(self, batch: Batch, measure: bool = True) -> dict[str, Tensor]:
        """One gradient step.

        Returns:
            ``priority`` ``[B]``, the absolute errors, and, if asked for, ``train/*`` metrics as scalar tensors.
        """
        next_value = self.target.net(batch.next_observation)
        # Double: the learned network chooses, the target values (van Hasselt et al. 2016).
        chooser = self.policy(batch.next_observation) if self.config.double else next_value
        best = chooser.argmax(1, keepdim=True)
        wanted = batch.reward + batch.discount * next_value.gather(1, best).squeeze(1)
        values = self.network.forward(self.policy.normalised(batch.observation))
        value = values.gather(1, batch.action).squeeze(1)
        error = value - wanted
        # Huber's loss: its gradient is the error, clipped to -1..1, and only for the value of the action taken.
        slope = batch.weight * error.clamp(-1.0, 1.0) / len(error)
        self.network.backward(torch.zeros_like(values).scatter_(1, batch.action, slope.unsqueeze(1)))
        norm = self.minimiser.descend()
        self.updates += 1
        if self.updates % self.config.target_every == 0:
            self.target.track(self.config.tau)
        priority = {"priority": error.abs()}
        if not measure:
            return priority
        loss = (batch.weight * functional.huber_loss(value, wanted, reduction="none")).mean()
        return {"train/loss": loss, "train/q_mean": value.mean(), "train/gradient_norm": norm, **priority}
