"""Soft actor-critic with a learned temperature (Haarnoja et al. 2018), and its ModSAC variant."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlbridge.config import NetworkShape, SACConfig
from rlbridge.learn.critic import Critic
from rlbridge.learn.distributions import SquashedGaussian
from rlbridge.learn.learner import OffPolicyLearner
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import Target
from rlbridge.learn.policy import Policy
from rlbridge.learn.replay import Batch


class SAC(OffPolicyLearner):
    """Learns from batches: holds the policy, the twin critics, their target, the temperature and the optimisers.

    Args:
        config, network: the settings.
        policy: draws from a squashed Gaussian; its raw actions are in -1..1.
        initialiser: the generator that draws the critics' weights.
        seed: of the noise that actions are drawn with in updates.
    """

    def __init__(
        self, config: SACConfig, network: NetworkShape, policy: Policy, initialiser: torch.Generator, seed: int
    ) -> None:
        assert isinstance(policy.distribution, SquashedGaussian)
        self.config, self.policy, self.distribution = config, policy, policy.distribution
        self.critic = Critic(policy, network, initialiser, twins=2).to(policy.device)
        self.critic_target = Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        start = math.log(config.temperature or config.initial_temperature)
        self.log_temperature = nn.Parameter(torch.tensor([start], device=policy.device))
        self.temperature_minimiser = Minimiser([self.log_temperature], config.learning_rate, None)
        self.target_entropy = -float(policy.actions.width) if config.target_entropy is None else config.target_entropy
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = self.policy_updates = 0
        self.mean_critic_loss = 1.0
        self._policy_metrics: dict[str, Tensor] = {}

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step for the critics, one for the policy and the temperature, then the target moves.

        Returns:
            ``train/*`` metrics as scalar tensors, and ``priority`` ``[B]``, the larger of the twins' absolute errors.
        """
        cfg = self.config
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            next_action, next_log_prob = self._draw(self.policy(batch.next_observation))
            next_value = self.critic_target.net(batch.next_observation, next_action).amin(0)
            wanted = batch.reward + batch.discount * (next_value - temperature * next_log_prob)
        value = self.critic(batch.observation, batch.action)
        error = functional.mse_loss(value, wanted.expand_as(value), reduction="none")
        critic_loss = 0.5 * (batch.weight * error).mean(1).sum()
        self.critic_minimiser.step(critic_loss)

        self.updates += 1
        if not cfg.modified or self._critics_can_be_trusted(critic_loss):
            self._update_policy(batch, temperature)
        if self.updates % cfg.target_every == 0:
            self.critic_target.track(cfg.tau)
        return {
            "train/critic_loss": critic_loss.detach(),
            "train/q_mean": value.detach().mean(),
            **self._policy_metrics,
            "priority": (value.detach() - wanted).abs().amax(0),
        }

    def _update_policy(self, batch: Batch, temperature: Tensor) -> None:
        judged, features = self.critic.features_for(self.policy, batch.observation)
        action, log_prob = self._draw(self.policy.head(features))
        value = self.critic.judge_only(judged, action).amin(0)
        policy_loss = (temperature * log_prob - value).mean()
        self.policy_minimiser.step(policy_loss)
        if self.config.temperature is None:
            missing = log_prob.detach().mean() + self.target_entropy
            self.temperature_minimiser.step(-(self.log_temperature * missing).sum())
        self.policy_updates += 1
        self._policy_metrics = {
            "train/actor_loss": policy_loss.detach(),
            "train/entropy": -log_prob.detach().mean(),
            "train/temperature": temperature[0],
        }

    def _critics_can_be_trusted(self, critic_loss: Tensor) -> bool:
        """ModSAC's two time scales: the policy moves half as often as the critics while these are wrong.

        As ElegantRL's AgentModSAC: lambda = exp(-L^2) with L the critics' running loss; the policy's share of all
        updates is kept below 1 / (2 - lambda). Waits for the loss at each update.
        """
        self.mean_critic_loss += 0.005 * (float(critic_loss.detach()) - self.mean_critic_loss)
        reliability = math.exp(-(self.mean_critic_loss**2))
        return self.policy_updates / self.updates < 1.0 / (2.0 - reliability)

    def _draw(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(outputs), self.policy.actions.width, generator=self.generator)
        return self.distribution.sample_with_log_prob(outputs, noise.to(outputs.device))
