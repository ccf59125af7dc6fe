"""Proximal policy optimisation (Schulman et al. 2017), with generalised advantages (Schulman et al. 2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlbridge.config import NetworkShape, PPOConfig
from rlbridge.learn.backprop import backprop
from rlbridge.learn.conv import network_for
from rlbridge.learn.distributions import Categorical, DiagonalGaussian
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import MLP
from rlbridge.learn.normalise import RewardScale
from rlbridge.learn.policy import Policy
from rlbridge.learn.rollout import Rollout, gae


class Batch(NamedTuple):
    """Transitions to learn from, ``[B]`` or ``[B, width]`` each; rows are normalised observations."""

    rows: Tensor
    action: Tensor
    old_log_prob: Tensor
    advantage: Tensor
    target: Tensor
    old_value: Tensor


class PPO:
    """Learns from rollouts: holds the policy, the critic and their optimiser, and nothing of environments.

    Args:
        config, network: the settings.
        policy: what acts; drawn from ``initialiser``, which the critic goes on with.
        num_envs: rows of a rollout, for the reward scale.
        seed: of the order of minibatches.
    """

    def __init__(
        self,
        config: PPOConfig,
        network: NetworkShape,
        policy: Policy,
        initialiser: Initialiser,
        num_envs: int,
        seed: int,
    ) -> None:
        assert isinstance(policy.distribution, (Categorical, DiagonalGaussian))
        self.config, self.policy, self.distribution = config, policy, policy.distribution
        self.device = next(policy.parameters()).device
        # The critic is a network of its own, or one linear layer on what the policy's last hidden layer says.
        self.shared = network.shared
        self.critic = (
            MLP(self.policy.trunk.size, [], 1, network.activation, 1.0, initialiser)
            if self.shared
            else network_for(self.policy.encoder, network, initialiser, outputs=1)
        ).to(self.device)
        self.reward_scale = RewardScale(num_envs, config.gamma) if config.normalise_rewards else None
        self.minimiser = Minimiser(
            [*self.policy.parameters(), *self.critic.parameters()],
            config.learning_rate,
            config.max_gradient_norm,
            epsilon=1e-5,  # what PPO was published with (Huang et al. 2022, detail 3)
        )
        self.trunk, self.head = backprop(policy.trunk), backprop(policy.head)
        self.value = backprop(self.critic)
        self.generator = torch.Generator().manual_seed(seed)
        self.updates = 0

    def rollout(self, num_envs: int) -> Rollout:
        """An empty rollout of the size this learner wants."""
        return Rollout(self.config.rollout_steps, num_envs, self.policy)

    def update(self, rollout: Rollout, progress: float) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            rollout: full.
            progress: the fraction of the run that is done, for the schedules.

        Returns:
            ``train/*`` metrics; those of losses are means over the last epoch. None if no row was a transition.
        """
        cfg = self.config
        if not rollout.valid.any():
            return {}
        rate = cfg.learning_rate * (1.0 - progress if cfg.learning_rate_schedule == "linear" else 1.0)
        clip = cfg.clip_range * (1.0 - progress if cfg.clip_range_schedule == "linear" else 1.0)
        self.minimiser.learning_rate = rate
        if self.policy.normaliser is not None:
            self.policy.normaliser.update(rollout.observation[:-1][torch.from_numpy(rollout.valid)])
        data, explained = self._prepare(rollout)
        for epoch in range(cfg.epochs):
            last = epoch == cfg.epochs - 1
            measured = self._epoch(data, clip, measure=last or cfg.target_kl is not None)
            # The one wait for a number inside an update, and only where it decides something.
            if cfg.target_kl is not None and float(measured["train/approx_kl"]) > cfg.target_kl:
                break
        self.updates += 1
        names, values = list(measured), torch.stack(list(measured.values())).tolist()
        return {
            **dict(zip(names, values, strict=True)),
            "train/explained_variance": explained,
            "train/learning_rate": rate,
            "train/clip_range": clip,
            "train/n_updates": float(self.updates),
            **self._std(),
        }

    def _prepare(self, rollout: Rollout) -> tuple[Batch, float]:
        """The rollout's transitions, and how much of the value targets' variance the critic explained."""
        cfg = self.config
        with torch.no_grad():
            rows = self.policy.normalised(rollout.observation.to(self.device).flatten(0, 1))
            actions = rollout.action.to(self.device).flatten(0, 1)
            count = len(actions)
            # Pictures in parts: what convolutions make of them takes many times their memory.
            size = cfg.minibatch_size if self.policy.encoder.image else len(rows)
            values_of = torch.cat([self._value(part) for part in torch.split(rows, size)])
            values = values_of.view(rollout.steps + 1, rollout.num_envs).cpu().numpy()
            if rollout.log_prob is None:
                parts = torch.split(rows[:count], size)
                outputs = torch.cat([self.policy.head(self.policy.trunk(part)) for part in parts])
                log_prob = self.distribution.log_prob(outputs, actions)
            else:  # an older policy acted
                log_prob = torch.from_numpy(rollout.log_prob.flatten()).to(self.device)
            next_value = values[1:].copy()
            if rollout.final:
                final = torch.from_numpy(np.stack(list(rollout.final.values()))).to(self.device)
                at = tuple(np.array(list(rollout.final)).T)
                next_value[at] = self._value(self.policy.normalised(final)).cpu().numpy()
        reward = rollout.reward
        if self.reward_scale is not None:
            reward = self.reward_scale(reward, rollout.terminated | rollout.truncated)
        ends = rollout.terminated, rollout.truncated, rollout.valid
        advantage = gae(reward, values[:-1], next_value, *ends, cfg.gamma, cfg.gae_lambda)
        target = advantage + values[:-1]
        flat = [torch.from_numpy(x.reshape(-1)).to(self.device) for x in (advantage, target, values[:-1])]
        data = Batch(rows[:count], actions, log_prob, *flat)
        if not rollout.valid.all():
            keep = torch.from_numpy(rollout.valid.reshape(-1)).to(self.device)
            data = Batch(*(column[keep] for column in data))
        return data, _explained_variance(advantage[rollout.valid], target[rollout.valid])

    @torch.no_grad()
    def _epoch(self, data: Batch, clip: float, measure: bool) -> dict[str, Tensor]:
        """One pass over all transitions, each in exactly one minibatch; metrics as scalar tensors if asked for."""
        count, size = len(data.rows), self.config.minibatch_size
        if count > size:
            # One permutation an epoch; minibatches are then views.
            order = torch.randperm(count, generator=self.generator).to(self.device)
            data = Batch(*(column[order] for column in data))
        measured: list[dict[str, Tensor]] = []
        for start in range(0, count, size):
            minibatch = data if count <= size else Batch(*(column[start : start + size] for column in data))
            metrics = self.differentiate(minibatch, clip, measure)
            norm = self.minimiser.descend()
            if measure:
                measured.append({**metrics, "train/gradient_norm": norm})
        if not measure:
            return {}
        return {name: torch.stack([m[name] for m in measured]).mean() for name in measured[0]}

    def differentiate(self, batch: Batch, clip: float, measure: bool) -> dict[str, Tensor]:
        """Find the gradient of one minibatch's loss (equation 9): the clipped surrogate, the value loss and the entropy
        bonus. It is put in ``minimiser.gradient``; returned are metrics as scalar tensors, if asked for.

        Differentiated by hand as far as the networks' outputs: autograd would take longer for this loss than the
        networks do.
        """
        cfg, distribution = self.config, self.distribution
        rows, action, old_log_prob, advantage, target, old_value = batch
        if cfg.normalise_advantage:
            variance, mean = torch.var_mean(advantage, correction=0)
            advantage = (advantage - mean) / (variance.sqrt() + 1e-8)
        features = self.trunk.forward(rows)
        outputs = self.head.forward(features)
        log_ratio = distribution.log_prob(outputs, action) - old_log_prob
        ratio = log_ratio.exp()
        surrogate, clipped = ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage
        # The gradient of min(surrogate, clipped) is surrogate * grad log_prob (since grad ratio = ratio * grad
        # log_prob) where the clip does not bind, and zero where it does.
        weight = (surrogate <= clipped) * surrogate
        gradient = distribution.score(outputs, action, weight.mul_(-1.0 / len(rows)))
        if cfg.entropy_coefficient:
            bonus = distribution.entropy_gradient(outputs, -cfg.entropy_coefficient)
            gradient = gradient if bonus is None else gradient.add_(bonus)
        value = self.value.forward(features if self.shared else rows).squeeze(-1)
        error = value - target
        value_gradient = error * (2.0 * cfg.value_coefficient / len(rows))
        if cfg.clip_value:
            clipped_error = old_value + (value - old_value).clamp(-clip, clip) - target
            value_gradient *= error.square() >= clipped_error.square()
        to_features = self.head.backward(gradient, to_input=True)
        to_value_input = self.value.backward(value_gradient.unsqueeze(1), to_input=self.shared)
        self.trunk.backward(to_features + to_value_input if self.shared else to_features)
        if not measure:
            return {}
        squares = error.square()
        if cfg.clip_value:
            squares = torch.max(squares, clipped_error.square())
        surrogate, entropy = torch.min(surrogate, clipped).mean(), distribution.entropy(outputs).mean()
        value_loss = squares.mean()
        return {
            "train/loss": cfg.value_coefficient * value_loss - surrogate - cfg.entropy_coefficient * entropy,
            "train/policy_gradient_loss": -surrogate,
            "train/value_loss": value_loss,
            "train/entropy_loss": -entropy,
            # Low in variance and never negative: (r - 1) - log r (Schulman, "Approximating KL divergence").
            "train/approx_kl": (ratio - 1.0 - log_ratio).mean(),
            "train/clip_fraction": ((ratio - 1.0).abs() > clip).float().mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on: tensors, arrays, numbers; nothing to pickle."""
        return {
            "policy": self.policy.state_dict(),
            "critic": self.critic.state_dict(),
            "minimiser": self.minimiser.state_dict(),
            "reward_scale": None if self.reward_scale is None else self.reward_scale.state_dict(),
            "policy_generator": self.policy.generator.get_state(),
            "generator": self.generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])
        self.minimiser.load_state_dict(state["minimiser"])
        if self.reward_scale is not None:
            self.reward_scale.load_state_dict(state["reward_scale"])
        self.policy.generator.set_state(state["policy_generator"])
        self.generator.set_state(state["generator"])
        self.updates = state["updates"]

    def _value(self, rows: Tensor) -> Tensor:
        return self.critic(self.policy.trunk(rows) if self.shared else rows).squeeze(-1)  # type: ignore[no-any-return]

    def _std(self) -> dict[str, float]:
        log_std = getattr(self.policy.distribution, "log_std", None)
        return {} if log_std is None else {"train/std": float(log_std.detach().exp().mean())}


def _explained_variance(advantage: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """1 - Var[target - value] / Var[target]; 0 where the targets do not vary."""
    variance = float(target.var()) if target.size else 0.0
    return 1.0 - float(advantage.var()) / variance if variance > 0.0 else 0.0
