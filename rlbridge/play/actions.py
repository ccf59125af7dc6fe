"""Raw actions, as networks and replay hold them, and the environment's actions: its units, bounds, dtype, numbering.

A *raw* action is ``[B, width]``: for choices, class indices from 0 (int64); for a Box, numbers of which -1..1 spans
each dimension's own bounds (float32; a side without bounds counts in the environment's units).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlbridge.play.encoding import UnsupportedSpace


class NotFinite(ValueError):
    """NaN or infinity where numbers are needed: an action, an observation, a reward, a loss."""


class Choices:
    """Discrete, MultiDiscrete and MultiBinary actions.

    Attributes:
        width: choices made in one action.
        classes: ``[width]``, how many there are to choose from in each; ``most`` is the largest of them.
        numbers: that a network gives for one action: ``most`` for each choice.
    """

    dtype = np.int64

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        self.space = space
        if isinstance(space, spaces.MultiBinary):
            classes, self.start = np.full(space.shape, 2), np.zeros(space.shape, dtype=np.int64)
        elif isinstance(space, spaces.MultiDiscrete):
            classes, self.start = space.nvec, space.start
        else:
            classes, self.start = np.array(space.n), np.array(space.start)
        self.classes: NDArray[np.int64] = classes.reshape(-1).astype(np.int64)
        self.width, self.most = self.classes.size, int(self.classes.max())
        self.numbers = self.width * self.most

    def to_environment(self, raw: NDArray[Any]) -> NDArray[Any]:
        """``[B, width]`` indices from 0 -> ``[B, *space.shape]`` in the space's own numbering and dtype."""
        shape = (len(raw), *(self.space.shape or ()))
        return (raw.reshape(shape) + self.start).astype(self.space.dtype)

    def random(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """``[count, width]`` raw actions, each choice uniform."""
        return generator.integers(0, self.classes, (count, self.width))


class Ranges:
    """Box actions.

    Attributes:
        width: dimensions; ``numbers``, that a network gives for one action, are as many.
        centre, half_range: ``[width]``; what raw 0 and a raw difference of 1 are in the environment's units.
        bounded: ``[width]``, whether a dimension has both bounds.
    """

    dtype = np.float32

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        self.width = self.numbers = int(np.prod(space.shape))
        self.low = space.low.astype(np.float64).flatten()
        self.high = space.high.astype(np.float64).flatten()
        self.bounded = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(self.bounded, self.low, -1.0), np.where(self.bounded, self.high, 1.0)
        self.centre, self.half_range = np.where(self.bounded, (low + high) / 2, 0.0), (high - low) / 2

    def to_environment(self, raw: NDArray[Any]) -> NDArray[Any]:
        """``[B, width]`` raw -> ``[B, *space.shape]``, scaled, clipped to the bounds, in the space's dtype.

        Raises:
            NotFinite: a policy that has diverged must not move anything.
        """
        finite = np.isfinite(raw)
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise NotFinite(
                f"row {row} of the actions is {raw[row].tolist()}, in parts of the action's range; nothing was sent. "
                "The policy has diverged: a smaller learning_rate or a max_gradient_norm may help."
            )
        action = np.clip(self.centre + self.half_range * raw, self.low, self.high)
        if np.issubdtype(self.space.dtype, np.integer):
            action = np.rint(action)
        shaped: NDArray[Any] = action.astype(self.space.dtype).reshape(len(raw), *self.space.shape)
        return shaped

    def random(self, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """``[count, width]`` raw actions, uniform in -1..1."""
        return generator.uniform(-1.0, 1.0, (count, self.width)).astype(np.float32)


Actions = Choices | Ranges


def actions_of(space: spaces.Space[Any]) -> Actions:
    """How raw actions and those of ``space`` correspond.

    Raises:
        UnsupportedSpace: the space is none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return Choices(space)
    if isinstance(space, spaces.Box):
        return Ranges(space)
    raise UnsupportedSpace(
        f"actions are a {type(space).__name__} space. Usable are Box, Discrete, MultiDiscrete and MultiBinary; "
        "flatten others in a wrapper (gymnasium.wrappers.FlattenAction helps)."
    )
