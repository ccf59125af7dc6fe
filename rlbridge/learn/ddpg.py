"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from rlbridge.config import DDPGConfig, NetworkShape
from rlbridge.learn.actor import Actor
from rlbridge.learn.backprop import Memory
from rlbridge.learn.critic import Critic, Judge
from rlbridge.learn.initialiser import Initialiser
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
        initialiser: draws the critic's weights.
    """

    def __init__(self, config: DDPGConfig, network: NetworkShape, policy: Policy, initialiser: Initialiser) -> None:
        self.config, self.policy = config, policy
        self.critic = Critic(policy, network, initialiser, twins=1).to(policy.device)
        self.policy_target, self.critic_target = Target(policy), Target(self.critic)
        self.critic_minimiser = Minimiser(self.critic.parameters(), config.learning_rate, config.max_gradient_norm)
        own = self.critic.leaves_to(policy)
        self.policy_minimiser = Minimiser(own.parameters(), config.learning_rate, config.max_gradient_norm)
        memory = Memory()  # of all that is never under way together with the policy
        self.actor, self.judge = Actor(policy, Memory(), network.shared), Judge(self.critic, [memory])
        self.target_actor = Actor(self.policy_target.net, memory)
        self.target_judge = Judge(self.critic_target.net, [memory])
        self.updates = 0

    @torch.no_grad()
    def update(self, batch: Batch, measure: bool = True) -> dict[str, Tensor]:
        """One gradient step for the critic, one for the policy, then the targets move.

        Returns:
            ``priority`` ``[B]``, the absolute errors, and, if asked for, ``train/*`` metrics as scalar tensors.
        """
        size = len(batch.reward)
        next_action = torch.tanh(self.target_actor.forward(batch.next_observation))
        next_features = self.target_judge.features(batch.next_observation)
        next_value = self.target_judge.values(next_features, next_action)
        wanted = batch.reward + batch.discount * next_value
        value = self.judge.values(self.judge.features(batch.observation), batch.action)
        error = value - wanted
        # The loss is the mean of weight * error^2.
        self.judge.backward(batch.weight * error * (2.0 / size))
        self.critic_minimiser.descend()

        # The policy climbs Q(s, mu(s)): its gradient is dQ/da * dmu (the chain rule of their equation 6).
        features = self.judge.features(batch.observation)
        action = torch.tanh(self.actor.forward(batch.observation, features))
        judged = self.judge.values(features, action)
        to_action = self.judge.to_action(torch.full_like(batch.reward, -1.0 / size))
        self.actor.backward(to_action * (1.0 - action.square()))
        self.policy_minimiser.descend()

        self.updates += 1
        if self.updates % self.config.target_every == 0:
            self.policy_target.track(self.config.tau)
            self.critic_target.track(self.config.tau)
        priority = {"priority": error.abs().squeeze(0)}
        if not measure:
            return priority
        return {
            "train/critic_loss": (batch.weight * error.square()).mean(),
            "train/actor_loss": -judged.mean(),
            "train/q_mean": value.mean(),
            **priority,
        }
