"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlbridge.config import NetworkShape, TD3Config
from rlbridge.learn.actor import Actor
from rlbridge.learn.backprop import Memory
from rlbridge.learn.critic import Critic, Judge
from rlbridge.learn.initialiser import Initialiser
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
        initialiser: draws the critics' weights.
        seed: of the noise on target actions.
    """

    def __init__(
        self, config: TD3Config, network: NetworkShape, policy: Policy, initialiser: Initialiser, seed: int
    ) -> None:
        self.config, self.policy = config, policy
        self.critic = Critic(policy, network, initialiser, twins=2).to(policy.device)
        self.policy_target, self.critic_target = Target(policy), Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        twins = Memory(), Memory()
        self.actor, self.judge = Actor(policy, Memory(), network.shared), Judge(self.critic, twins)
        self.target_actor = Actor(self.policy_target.net, twins[0])
        self.target_judge = Judge(self.critic_target.net, twins)
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = 0
        self._policy_loss = torch.zeros((), device=policy.device)

    @torch.no_grad()
    def update(self, batch: Batch, measure: bool = True) -> dict[str, Tensor]:
        """One gradient step for the critics; every ``policy_delay`` steps one for the policy, and the targets move.

        Returns:
            ``priority`` ``[B]``, the larger of the twins' absolute errors, and, if asked for, ``train/*`` metrics as
            scalar tensors.
        """
        cfg, size = self.config, len(batch.reward)
        # Target policy smoothing (equation 14); raw actions, so the noise counts in half an action's range.
        noise = torch.randn(batch.action.shape, generator=self.generator).to(batch.action.device)
        noise = (noise * cfg.target_noise).clamp_(-cfg.target_noise_clip, cfg.target_noise_clip)
        next_action = (torch.tanh(self.target_actor.forward(batch.next_observation)) + noise).clamp_(-1.0, 1.0)
        # Clipped double Q-learning (equation 10).
        next_features = self.target_judge.features(batch.next_observation)
        next_value = self.target_judge.values(next_features, next_action).amin(0)
        wanted = batch.reward + batch.discount * next_value
        value = self.judge.values(self.judge.features(batch.observation), batch.action)
        error = value - wanted
        # The loss is the mean of weight * error^2, of one critic plus of the other.
        self.judge.backward(batch.weight * error * (2.0 / size))
        self.critic_minimiser.descend()

        self.updates += 1
        if self.updates % cfg.policy_delay == 0:
            features = self.judge.features(batch.observation)
            action = torch.tanh(self.actor.forward(batch.observation, features))
            judged = self.judge.values(features, action, twins=1)
            to_action = self.judge.to_action(torch.full_like(batch.reward, -1.0 / size))
            self.actor.backward(to_action * (1.0 - action.square()))
            self.policy_minimiser.descend()
            self._policy_loss = -judged.mean()
            self.policy_target.track(cfg.tau)
            self.critic_target.track(cfg.tau)
        priority = {"priority": error.abs().amax(0)}
        if not measure:
            return priority
        return {
            "train/critic_loss": (batch.weight * error.square()).mean(1).sum(),
            "train/actor_loss": self._policy_loss,
            "train/q_mean": value.mean(),
            **priority,
        }
