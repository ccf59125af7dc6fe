"""Environments whose every number is known beforehand."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper

from rlbridge.config import load_config
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.learners import make_learner
from rlbridge.learn.seeds import Seeds


def learner_for(envs: Any, seed: int = 0, network: dict[str, Any] | None = None, **algorithm: Any) -> Any:
    """A learner as a run makes it; PPO unless ``name`` says otherwise."""
    sections = {"env": {"num_envs": envs.num_envs}, "algorithm": algorithm, "network": network or {}}
    spaces_ = envs.single_observation_space, envs.single_action_space
    return make_learner(load_config(sections), *spaces_, Seeds.from_run(seed))


def collector_for(envs: Any, policy: Any, seed: int = 0) -> StepCollector:
    return StepCollector(envs, policy, Seeds.from_run(seed))


class Counter(gymnasium.Env[Any, Any]):
    """Observes ``[episode, step]``; pays the step's number; ends after ``length`` steps, terminated or truncated.

    ``received`` keeps every action as it came.
    """

    def __init__(self, length: int = 3, truncates: bool = True, action_space: spaces.Space[Any] | None = None):
        self.observation_space = spaces.Box(-1000.0, 1000.0, (2,), np.float32)
        self.action_space = action_space or spaces.Discrete(2)
        self.length, self.truncates = length, truncates
        self.episode, self.count = -1, 0
        self.received: list[Any] = []

    def observe(self) -> np.ndarray[Any, Any]:
        return np.array([self.episode, self.count], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.count = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.received.append(action)
        self.count += 1
        ended = self.count >= self.length
        return self.observe(), float(self.count), ended and not self.truncates, ended and self.truncates, {}


class Bandit(gymnasium.Env[Any, Any]):
    """Pays minus the squared distance of the action from ``target(observation)``, in the action's own units."""

    def __init__(self, low: float = -10.0, high: float = 30.0) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(low, high, (1,), np.float32)
        self.middle, self.half = (low + high) / 2, (high - low) / 2

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        self.count = 0
        return self.x, {}

    def step(self, action: Any) -> Any:
        wanted = self.middle + self.half * 0.6 * float(self.x[0])
        reward = -(((float(action[0]) - wanted) / self.half) ** 2)
        self.x = self.np_random.uniform(-1.0, 1.0, 1).astype(np.float32)
        self.count += 1
        return self.x, reward, False, self.count >= 10, {}


class Disowning(VectorWrapper[Any, Any, Any, Any, Any]):
    """Says ``bridge_valid`` is false, and truncated, for row 0 of every ``every``-th step."""

    def __init__(self, env: VectorEnv[Any, Any, Any], every: int) -> None:
        super().__init__(env)
        self.every, self.count = every, 0

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.count += 1
        if self.count % self.every == 0:
            valid = np.ones(self.num_envs, dtype=bool)
            valid[0] = False
            rewards, truncated = rewards.copy(), truncated.copy()
            rewards[0], truncated[0] = np.nan, True
            infos = {**infos, "bridge_valid": valid}
        return observations, rewards, terminated, truncated, infos


class Poisoned(Counter):
    """Gives a reward of NaN, or an observation of infinity, at its ``at``-th step."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(length=50)
        self.at, self.what, self.steps = at, what, 0

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        if self.steps == self.at:
            if self.what == "reward":
                reward = float("nan")
            else:
                observation[1] = np.inf
        return observation, reward, terminated, truncated, info


def poisoned_reward(at: int) -> Poisoned:
    return Poisoned(at, "reward")


def poisoned_observation(at: int) -> Poisoned:
    return Poisoned(at, "observation")


class Talker(Counter):
    """Observes words, which no learner here can use."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Text(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return "hello", {}
