"""A lamp that only eyes can see."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Lamp(gymnasium.Env[Any, Any]):
    """Shows a bright square in the left or the right half of a dim, noisy picture.

    Discrete actions name the half, 0 or 1, and pay 1 if right; continuous ones pay minus the squared distance to -0.5
    or 0.5. Each step shows another picture; an episode is 10 of them. ``shape`` is ``[H, W]``, ``[H, W, C]`` or
    ``[C, H, W]``.
    """

    def __init__(self, shape: tuple[int, ...] = (12, 12), continuous: bool = False) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else spaces.Discrete(2)
        self.continuous = continuous

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self.look(), {}

    def step(self, action: Any) -> Any:
        if self.continuous:
            reward = -((float(action[0]) - (self.right - 0.5)) ** 2)
        else:
            reward = float(action == self.right)
        self.count += 1
        return self.look(), reward, False, self.count >= 10, {}

    def look(self) -> np.ndarray[Any, Any]:
        shape = self.observation_space.shape
        assert shape is not None
        channels_first = len(shape) == 3 and shape[0] < shape[-1]
        height, width = shape[-2:] if channels_first or len(shape) == 2 else shape[:2]
        side, half = height // 4, width // 2
        self.right = int(self.np_random.integers(2))
        row = self.np_random.integers(height - side + 1)
        column = half * self.right + self.np_random.integers(half - side + 1)
        plane = self.np_random.integers(0, 80, (height, width), np.uint8)
        plane[row : row + side, column : column + side] += 150
        if len(shape) == 2:
            return plane
        return np.stack([plane] * (shape[0] if channels_first else shape[-1]), 0 if channels_first else -1)


def continuous(**kwargs: Any) -> Lamp:
    return Lamp(continuous=True, **kwargs)
