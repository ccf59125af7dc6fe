"""How off-policy learners try things: raw actions for N environments, from a network's outputs and chance.

Every explorer has a generator of its own, and chance is drawn for each environment by itself.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlbridge.config import DQNConfig, NoiseConfig, OffPolicyConfig
from rlbridge.learn.policy import Policy

EVERYONE = slice(None)


class Explorer(Protocol):
    """Acts while training."""

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        """Raw actions ``[n, width]`` for encoded observations ``[n, *shape]``, after ``steps`` transitions.

        ``rows`` are those of the whole batch that these observations are of.
        """
        ...

    def ended(self, rows: NDArray[np.bool_]) -> None:
        """The episodes of these environments ``[N]`` are over."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class WarmUp:
    """Uniform random actions first, then another explorer's.

    Args:
        policy: knows the actions there are.
        steps: transitions before the other takes over.
        after: that other.
        seed: of the random actions.
    """

    def __init__(self, policy: Policy, steps: int, after: Explorer, seed: int) -> None:
        self.actions, self.steps, self.after = policy.actions, steps, after
        self.generator = np.random.default_rng(seed)

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        if steps < self.steps:
            return self.actions.random(len(observation), self.generator)
        return self.after.act(observation, steps, rows)

    def ended(self, rows: NDArray[np.bool_]) -> None:
        self.after.ended(rows)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state, "after": self.after.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]
        self.after.load_state_dict(state["after"])


class EpsilonGreedy:
    """The best action, or with probability epsilon any (Watkins 1989); one coin for each environment.

    Epsilon falls over the first part of the run. As ``gaussian_epsilon``, each coin's own epsilon is drawn from a
    normal around it, cut off at 0 and 1, so that some environments explore more than others.
    """

    def __init__(self, policy: Policy, config: DQNConfig, seed: int) -> None:
        self.policy, self.config = policy, config
        self.generator = np.random.default_rng(seed)

    def epsilon(self, steps: int) -> float:
        """The mean probability of a random action after ``steps`` transitions."""
        cfg = self.config
        if cfg.exploration == "greedy":
            return 0.0
        done = min(steps / max(cfg.epsilon_fraction * cfg.total_steps, 1.0), 1.0)
        if cfg.epsilon_schedule == "exponential":
            # The fall never quite ends at zero: a ratio needs an end above it.
            ratio = max(cfg.epsilon_end, 1e-3) / max(cfg.epsilon_start, 1e-3)
            return float(cfg.epsilon_start * ratio**done)
        return cfg.epsilon_start + done * (cfg.epsilon_end - cfg.epsilon_start)

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        epsilon: Any = self.epsilon(steps)
        n = len(observation)
        if self.config.exploration == "gaussian_epsilon":
            epsilon = truncated_normal(epsilon, self.config.epsilon_deviation, n, self.generator)
        coins = self.generator.random(n) < epsilon
        # With few environments the coins mostly agree, and what is not asked for costs nothing.
        if coins.all():
            return self.policy.actions.random(n, self.generator)
        best = self.policy.raw(observation, deterministic=True)
        if not coins.any():
            return best
        return np.where(coins[:, None], self.policy.actions.random(n, self.generator), best)

    def ended(self, rows: NDArray[np.bool_]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]


class Noisy:
    """The policy's action plus noise, kept within -1..1: Gaussian, Ornstein-Uhlenbeck, or none.

    The walk x <- (1 - theta) x + std * normal reverts to zero (Uhlenbeck and Ornstein 1930, as Lillicrap et al. 2016
    use it, with a time step of 1), begins anew with each episode, and is each environment's own.
    """

    def __init__(self, policy: Policy, config: NoiseConfig, num_envs: int, seed: int) -> None:
        self.policy, self.config = policy, config
        self.generator = np.random.default_rng(seed)
        self.walk = np.zeros((num_envs, policy.actions.width), np.float32)

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        action = self.policy.raw(observation, deterministic=True)
        if self.config.noise == "none":
            return action
        fresh = self.generator.normal(0.0, self.config.noise_std, action.shape).astype(np.float32)
        keep = 1.0 - self.config.noise_theta if self.config.noise == "ornstein_uhlenbeck" else 0.0
        self.walk[rows] = np.float32(keep) * self.walk[rows] + fresh
        return np.clip(action + self.walk[rows], -1.0, 1.0)

    def ended(self, rows: NDArray[np.bool_]) -> None:
        self.walk[rows] = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state, "walk": self.walk.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]
        self.walk = state["walk"].copy()


class Sampled:
    """What the policy itself draws: soft actor-critic explores by its entropy. The generator is the policy's."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        return self.policy.raw(observation, deterministic=False)

    def ended(self, rows: NDArray[np.bool_]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def explorer_for(config: OffPolicyConfig, policy: Policy, num_envs: int, seed: int) -> Explorer:
    """What suits the algorithm."""
    explorer: Explorer
    if isinstance(config, DQNConfig):
        explorer = EpsilonGreedy(policy, config, seed)
    elif isinstance(config, NoiseConfig):
        explorer = Noisy(policy, config, num_envs, seed)
    else:
        explorer = Sampled(policy)
    return WarmUp(policy, config.learning_starts, explorer, seed + 1)


def truncated_normal(mean: float, deviation: float, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """``[count]`` normal numbers between 0 and 1; those outside are drawn again."""
    drawn = generator.normal(mean, deviation, count)
    while (outside := (drawn < 0.0) | (drawn > 1.0)).any():
        drawn[outside] = generator.normal(mean, deviation, int(outside.sum()))
    return drawn
