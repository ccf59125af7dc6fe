"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rlbridge.config import DDPGConfig, NetworkShape
from rlbridge.learn.critic import Critic
from rlbridge.learn.learner import OffPolicyLearner
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import Target
from rlbridge.learn.policy import Policy
from rlbridge.learn.replay import Batch


class DDPG(OffPolicyLearner):
    """Learns from batches: holds the policy mu, the critic Q, their targets and optimisers.

    Args:
        config, network: the settings.
        policy: mu; its raw actions are in -1..1.
        initialiser: the generator that draws the critic's weights.
    """

    def __init__(self, config: DDPGConfig, network: NetworkShape, policy: Policy, initialiser: torch.Generator) -> None:
        self.config, self.policy = config, policy
        self.critic = Critic(policy, network, initialiser, twins=1).to(policy.device)
        self.policy_target, self.critic_target = Target(policy), Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        self.updates = 0

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step for the critic, one for the policy, then the targets move.

        Returns:
            ``train/*`` metrics as scalar tensors, and ``priority`` ``[B]``, the absolute errors.
        """
        with torch.no_grad():
            next_action = torch.tanh(self.policy_target.net(batch.next_observation))
            next_value = self.critic_target.net(batch.next_observation, next_action)[0]
            wanted = batch.reward + batch.discount * next_value
        value = self.critic(batch.observation, batch.action)[0]
        critic_loss = (batch.weight * functional.mse_loss(value, wanted, reduction="none")).mean()
        self.critic_minimiser.step(critic_loss)

        judged, features = self.critic.features_for(self.policy, batch.observation)
        action = torch.tanh(self.policy.head(features))
        policy_loss = -self.critic.judge_only(judged, action).mean()
        self.policy_minimiser.step(policy_loss)

        self.updates += 1
        if self.updates % self.config.target_every == 0:
            self.policy_target.track(self.config.tau)
            self.critic_target.track(self.config.tau)
        return {
            "train/critic_loss": critic_loss.detach(),
            "train/actor_loss": policy_loss.detach(),
            "train/q_mean": value.detach().mean(),
            "priority": (value.detach() - wanted).abs(),
        }
