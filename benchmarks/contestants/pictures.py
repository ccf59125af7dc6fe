"""An environment of stacked pictures [84, 84, 4] (uint8) whose step costs next to nothing: what carries it counts."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

SPACE = spaces.Box(0, 255, (84, 84, 4), np.uint8)


class Picture(gymnasium.Env[Any, Any]):
    """One: noise, drawn once."""

    observation_space, action_space = SPACE, spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._frame = self.np_random.integers(0, 256, SPACE.shape, np.uint8)
        return self._frame, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._frame, 1.0, False, False, {}


class Pictures(VectorEnv[Any, Any, Any]):
    """N of them as one object: two batches of noise in turn."""

    single_observation_space, single_action_space = SPACE, spaces.Discrete(4)

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(SPACE, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._frames = np.random.default_rng(0).integers(0, 256, (2, num_envs, *SPACE.shape), np.uint8)
        self._ones, self._never = np.ones(num_envs), np.zeros(num_envs, np.bool_)
        self._steps = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._frames[0], {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._steps += 1
        return self._frames[self._steps % 2], self._ones, self._never, self._never, {}
