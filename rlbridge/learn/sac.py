"""Soft actor-critic with a learned temperature (Haarnoja et al. 2018), and its ModSAC variant."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlbridge.config import NetworkShape, SACConfig
from rlbridge.learn.actor import Actor
from rlbridge.learn.backprop import Memory
from rlbridge.learn.critic import Critic, Judge
from rlbridge.learn.distributions import SquashedGaussian
from rlbridge.learn.initialiser import Initialiser
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
        initialiser: draws the critics' weights.
        seed: of the noise that actions are drawn with in updates.
    """

    def __init__(
        self, config: SACConfig, network: NetworkShape, policy: Policy, initialiser: Initialiser, seed: int
    ) -> None:
        assert isinstance(policy.distribution, SquashedGaussian)
        self.config, self.policy, self.distribution = config, policy, policy.distribution
        self.critic = Critic(policy, network, initialiser, twins=2).to(policy.device)
        self.critic_target = Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        twins = Memory(), Memory()
        self.actor, self.judge = Actor(policy, Memory(), network.shared), Judge(self.critic, twins)
        self.next_actor, self.target_judge = Actor(policy, twins[0]), Judge(self.critic_target.net, twins)
        start = math.log(config.temperature or config.initial_temperature)
        self.log_temperature = nn.Parameter(torch.tensor([start], device=policy.device))
        self.temperature_minimiser = Minimiser([self.log_temperature], config.learning_rate, None)
        self.target_entropy = -float(policy.actions.width) if config.target_entropy is None else config.target_entropy
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = self.policy_updates = 0
        self.mean_critic_loss = 1.0
        self._policy_metrics: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, batch: Batch, measure: bool = True) -> dict[str, Tensor]:
        """One gradient step for the critics, one for the policy and the temperature, then the target moves.

        Returns:
            ``priority`` ``[B]``, the larger of the twins' absolute errors, and, if asked for, ``train/*`` metrics as
            scalar tensors.
        """
        cfg, size = self.config, len(batch.reward)
        temperature = self.log_temperature.exp()
        next_outputs = self.next_actor.forward(batch.next_observation)
        next_action, next_log_prob = self.distribution.sample_with_log_prob(next_outputs, self._noise(size))
        next_features = self.target_judge.features(batch.next_observation)
        next_value = self.target_judge.values(next_features, next_action).amin(0)
        wanted = batch.reward + batch.discount * (next_value - temperature * next_log_prob)
        value = self.judge.values(self.judge.features(batch.observation), batch.action)
        error = value - wanted
        self.judge.backward(batch.weight * error / size)
        self.critic_minimiser.descend()

        self.updates += 1
        if not cfg.modified or self._critics_can_be_trusted(_loss(batch, error)):
            self._update_policy(batch.observation, temperature, measure)
        if self.updates % cfg.target_every == 0:
            self.critic_target.track(cfg.tau)
        priority = {"priority": error.abs().amax(0)}
        if not measure:
            return priority
        return {
            "train/critic_loss": _loss(batch, error),
            "train/q_mean": value.mean(),
            **self._policy_metrics,
            **priority,
        }

    def _update_policy(self, observation: Tensor, temperature: Tensor, measure: bool) -> None:
        size = len(observation)
        features = self.judge.features(observation)
        outputs, noise = self.actor.forward(observation, features), self._noise(size)
        action, log_prob = self.distribution.sample_with_log_prob(outputs, noise)
        values = self.judge.values(features, action)
        # The loss is the mean of temperature * log_prob - the smaller value, whose gradient is the smaller twin's.
        smaller, twin = values.min(0)
        to_action = self.judge.to_action(torch.full_like(smaller, -1.0 / size), twin)
        self.actor.backward(self.distribution.backward(outputs, noise, to_action, temperature / size))
        self.policy_minimiser.descend()
        entropy = -log_prob.mean()
        if self.config.temperature is None:
            # The loss is log temperature * (entropy - target entropy).
            assert self.log_temperature.grad is not None
            self.log_temperature.grad.fill_(0.0).add_(entropy - self.target_entropy)
            self.temperature_minimiser.descend()
        self.policy_updates += 1
        if measure or not self._policy_metrics:
            self._policy_metrics = {
                "train/actor_loss": (temperature * log_prob - smaller).mean(),
                "train/entropy": entropy,
                "train/temperature": temperature[0],
            }

    def _critics_can_be_trusted(self, critic_loss: Tensor) -> bool:
        """ModSAC's two time scales: the policy moves half as often as the critics while these are wrong.

        As ElegantRL's AgentModSAC: lambda = exp(-L^2) with L the critics' running loss; the policy's share of all
        updates is kept below 1 / (2 - lambda). Waits for the loss at each update.
        """
        self.mean_critic_loss += 0.005 * (float(critic_loss) - self.mean_critic_loss)
        reliability = math.exp(-(self.mean_critic_loss**2))
        return self.policy_updates / self.updates < 1.0 / (2.0 - reliability)

    def _noise(self, rows: int) -> Tensor:
        return torch.randn(rows, self.policy.actions.width, generator=self.generator).to(self.policy.device)


def _loss(batch: Batch, error: Tensor) -> Tensor:
    """Half the mean of weight * error^2, of one critic plus of the other."""
    return 0.5 * (batch.weight * error.square()).mean(1).sum()
