"""Observations become flat float32 rows, in the order of ``gymnasium.spaces.flatten``."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class UnsupportedSpace(TypeError):
    """A space this learner cannot use; raised before anything starts."""


class Encoder:
    """Flattens observations of one space; discrete parts become one-hot, Dict and Tuple parts are joined.

    ``size`` is the row's length.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        refuse(space)
        self.space = space
        self.size = int(spaces.flatdim(space))
        self._plain_box = isinstance(space, spaces.Box)

    def batch(self, observations: Any) -> NDArray[np.float32]:
        """A vector environment's observations, batch axis first -> ``[N, size]`` float32."""
        if self._plain_box:
            return np.asarray(observations, dtype=np.float32).reshape(len(observations), self.size)
        return np.concatenate(_columns(self.space, observations), axis=1)

    def single(self, observation: Any) -> NDArray[np.float32]:
        """One observation -> ``[size]`` float32."""
        return np.asarray(spaces.flatten(self.space, observation), dtype=np.float32)

    def is_batch(self, observations: Any) -> bool:
        """Whether there is a batch axis in front of what one observation looks like."""
        return _is_batch(self.space, observations)


def refuse(space: spaces.Space[Any], where: str = "observation") -> None:
    """Raise UnsupportedSpace if observations of ``space`` cannot become flat numbers."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            refuse(part, f"{where}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            refuse(part, f"{where}[{index}]")
    elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        raise UnsupportedSpace(
            f"{where} is an image {space.shape}; convolutional networks are not available yet. "
            "Resize and flatten it in a wrapper, or observe features instead."
        )
    elif not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        raise UnsupportedSpace(
            f"{where} is a {type(space).__name__} space, of no fixed size. Usable are Box, Discrete, "
            "MultiDiscrete, MultiBinary, and Dict or Tuple of them."
        )


def _columns(space: spaces.Space[Any], values: Any) -> list[NDArray[np.float32]]:
    if isinstance(space, spaces.Dict):
        return [c for key, part in space.spaces.items() for c in _columns(part, values[key])]
    if isinstance(space, spaces.Tuple):
        return [c for part, value in zip(space.spaces, values, strict=True) for c in _columns(part, value)]
    values = np.asarray(values)
    if isinstance(space, spaces.Discrete):
        return [_one_hot(values - space.start, int(space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        shifted = (values - space.start).reshape(len(values), -1)
        return [_one_hot(shifted[:, i], int(n)) for i, n in enumerate(space.nvec.flatten())]
    return [values.reshape(len(values), -1).astype(np.float32)]


def _one_hot(index: NDArray[Any], n: int) -> NDArray[np.float32]:
    return np.eye(n, dtype=np.float32)[index.astype(np.int64)]


def _is_batch(space: spaces.Space[Any], values: Any) -> bool:
    if isinstance(space, spaces.Dict):
        key = next(iter(space.spaces))
        return _is_batch(space.spaces[key], values[key])
    if isinstance(space, spaces.Tuple):
        return _is_batch(space.spaces[0], values[0])
    return np.ndim(values) > len(space.shape or ())
