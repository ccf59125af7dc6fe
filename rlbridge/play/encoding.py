"""Observations become what networks take: float32 rows as ``gymnasium.spaces.flatten`` has them, or images."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class UnsupportedSpace(TypeError):
    """A space this learner cannot use; raised before anything starts."""


class Encoder:
    """Makes observations of one space into arrays that networks take.

    Flat float32 rows, in general: discrete parts become one-hot, Dict and Tuple parts are joined. An image (uint8 with
    height and width, with or without channels) stays as it is.

    Attributes:
        shape, dtype: of one encoded observation; ``size`` is how many numbers that is.
        image: whether it is one.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        refuse(space)
        self.space = space
        self.image = is_image(space)
        self.size = int(spaces.flatdim(space))
        self.shape: tuple[int, ...] = space.shape if self.image and space.shape else (self.size,)
        self.dtype = np.dtype(np.uint8 if self.image else np.float32)
        self._plain_box = isinstance(space, spaces.Box)

    def batch(self, observations: Any) -> NDArray[Any]:
        """A vector environment's observations, batch axis first -> ``[N, *shape]``."""
        if self._plain_box:
            return np.asarray(observations, dtype=self.dtype).reshape(len(observations), *self.shape)
        return np.concatenate(_columns(self.space, observations), axis=1)

    def single(self, observation: Any) -> NDArray[Any]:
        """One observation -> ``[*shape]``."""
        if self.image:
            return np.asarray(observation, dtype=np.uint8)
        return np.asarray(spaces.flatten(self.space, observation), dtype=np.float32)

    def is_batch(self, observations: Any) -> bool:
        """Whether there is a batch axis in front of what one observation looks like."""
        return _is_batch(self.space, observations)


def is_image(space: spaces.Space[Any]) -> bool:
    """Whether ``space`` holds pictures: uint8, ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``, 8 pixels a side or more."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return sum(side >= 8 for side in space.shape) >= 2


def refuse(space: spaces.Space[Any], where: str = "observation") -> None:
    """Raise UnsupportedSpace if observations of ``space`` cannot become flat numbers."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            refuse(part, f"{where}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            refuse(part, f"{where}[{index}]")
    elif is_image(space) and where != "observation":
        raise UnsupportedSpace(
            f"{where} is an image {space.shape} among other parts, which no network here takes. Observe the image "
            "alone, or features instead of it, with a wrapper."
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
    rows = np.zeros((len(index), n), dtype=np.float32)
    rows[np.arange(len(index)), index.astype(np.int64)] = 1.0
    return rows


def _is_batch(space: spaces.Space[Any], values: Any) -> bool:
    if isinstance(space, spaces.Dict):
        key = next(iter(space.spaces))
        return _is_batch(space.spaces[key], values[key])
    if isinstance(space, spaces.Tuple):
        return _is_batch(space.spaces[0], values[0])
    return np.ndim(values) > len(space.shape or ())
