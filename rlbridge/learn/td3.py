"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rlbridge.config import NetworkShape, TD3Config
from rlbridge.learn.critic import Critic
from rlbridge.learn.learner import OffPolicyLearner
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import Target
from rlbridge.learn.policy import Policy
from rlbridge.learn.replay import Batch


class TD3(OffPolicyLearner):
    """Learns from batches: holds the policy pi, the twin critics Q1 and Q2, their targets and optimisers.

    Args:
        config, network: the settings.
        policy: pi; its raw actions are in -1..1.
        initialiser: the generator that draws the critics' weights.
        seed: of the noise on target actions.
    """

    def __init__(
        self, config: TD3Config, network: NetworkShape, policy: Policy, initialiser: torch.Generator, seed: int
    ) -> None:
        self.config, self.policy = config, policy
        self.critic = Critic(policy, network, initialiser, twins=2).to(policy.device)
        self.policy_target, self.critic_target = Target(policy), Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = 0
        self._policy_loss = torch.zeros((), device=policy.device)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step for the critics; every ``policy_delay`` steps one for the policy, and the targets move.

        Returns:
            ``train/*`` metrics as scalar tensors, and ``priority`` ``[B]``, the larger of the twins' absolute errors.
        """
        cfg = self.config
        with torch.no_grad():
            # Target policy smoothing (equation 14); raw actions, so the noise counts in half an action's range.
            noise = torch.randn(batch.action.shape, generator=self.generator).to(batch.action.device)
            noise = (noise * cfg.target_noise).clamp_(-cfg.target_noise_clip, cfg.target_noise_clip)
            next_action = (torch.tanh(self.policy_target.net(batch.next_observation)) + noise).clamp_(-1.0, 1.0)
            # Clipped double Q-learning (equation 10).
            next_value = self.critic_target.net(batch.next_observation, next_action).amin(0)
            wanted = batch.reward + batch.discount * next_value
        value = self.critic(batch.observation, batch.action)
        error = functional.mse_loss(value, wanted.expand_as(value), reduction="none")
        critic_loss = (batch.weight * error).mean(1).sum()
        self.critic_minimiser.step(critic_loss)

        self.updates += 1
        if self.updates % cfg.policy_delay == 0:
            judged, features = self.critic.features_for(self.policy, batch.observation)
            action = torch.tanh(self.policy.head(features))
            policy_loss = -self.critic.judge_only(judged, action, twins=1).mean()
            self.policy_minimiser.step(policy_loss)
            self._policy_loss = policy_loss.detach()
            self.policy_target.track(cfg.tau)
            self.critic_target.track(cfg.tau)
        return {
            "train/critic_loss": critic_loss.detach(),
            "train/actor_loss": self._policy_loss,
            "train/q_mean": value.detach().mean(),
            "priority": (value.detach() - wanted).abs().amax(0),
        }
