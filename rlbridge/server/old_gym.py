"""Environments of OpenAI's Gym, 0.19 to 0.26, as Gymnasium's: the server half runs beside either.

What differs: ``step`` gives four values up to 0.25, ``reset`` takes no seed up to 0.21 and gives no info up to 0.25,
and the spaces are classes of another package.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
from gymnasium import spaces


class OldGymEnv(gymnasium.Env[Any, Any]):
    """A ``gym.Env`` behind Gymnasium's interface.

    A ``done`` that Gym's TimeLimit caused (``info["TimeLimit.truncated"]``) is a truncation, every other one a
    termination.

    Args:
        env: with spaces from ``gym.spaces``.

    Raises:
        TypeError: a space of a kind that Gymnasium does not have.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self.observation_space = modern_space(env.observation_space)
        self.action_space = modern_space(env.action_space)
        self.metadata = dict(getattr(env, "metadata", None) or {})
        self._reset_takes_seed = "seed" in inspect.signature(getattr(env, "unwrapped", env).reset).parameters

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """``options`` are handed on where the environment's ``reset`` takes a seed; older ones know neither."""
        if self._reset_takes_seed:
            result = self._env.reset(seed=seed, options=options) if options else self._env.reset(seed=seed)
        else:
            if seed is not None:
                self._env.seed(seed)
            result = self._env.reset()
        has_info = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
        if has_info and not isinstance(self.observation_space, spaces.Tuple):
            observation, info = result
            return observation, info
        return result, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self._env.step(action)
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
            return observation, reward, bool(terminated), bool(truncated), info
        observation, reward, done, info = result
        truncated = bool(done and info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()


def modern(env: Any) -> Any:
    """The environment itself, or if its spaces are Gym's, one with Gymnasium's."""
    return OldGymEnv(env) if _is_gym(getattr(env, "observation_space", None)) else env


def _is_gym(space: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "gym" for kind in type(space).__mro__)


def modern_space(space: Any) -> spaces.Space[Any]:
    """Gymnasium's space for one of Gym's.

    Raises:
        TypeError: there is none.
    """
    kind = next((k.__name__ for k in type(space).__mro__ if k.__module__.startswith("gym.spaces")), "")
    if kind == "Box":
        return spaces.Box(space.low, space.high, space.shape, space.dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(space.nvec)
    if kind == "MultiBinary":
        return spaces.MultiBinary(space.n)
    if kind == "Tuple":
        return spaces.Tuple([modern_space(inner) for inner in space.spaces])
    if kind == "Dict":
        return spaces.Dict([(key, modern_space(inner)) for key, inner in space.spaces.items()])
    raise TypeError(
        f"a space of Gym's class {type(space).__name__} has no counterpart here; Box, Discrete, MultiDiscrete, "
        "MultiBinary, Tuple and Dict have"
    )
