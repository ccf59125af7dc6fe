"""Action distributions: network outputs and noise in, actions out, with log-probability and entropy.

Three kinds of action meet here. The *network outputs* ``[B, outputs]`` are a distribution's parameters. The *raw*
action ``[B, width]`` is what was drawn, what rollouts store and log-probabilities are of: class indices from 0,
or unbounded numbers where -1..1 spans the space. The *environment's* action has its units, bounds and dtype.
Written out rather than taken from torch.distributions, whose objects cost more than the arithmetic here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from rlbridge.learn.encoding import UnsupportedSpace

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Categorical(nn.Module):
    """Independent choices: Discrete, MultiDiscrete and MultiBinary. Raw actions are int64 ``[B, width]``."""

    dtype = torch.int64

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        super().__init__()
        self.space = space
        if isinstance(space, spaces.MultiBinary):
            classes, start = np.full(space.shape, 2), np.zeros(space.shape, dtype=np.int64)
        elif isinstance(space, spaces.MultiDiscrete):
            classes, start = space.nvec, space.start
        else:
            classes, start = np.array(space.n), np.array(space.start)
        self.start = start
        self.width, self.most = classes.size, int(classes.max())
        self.outputs = self.width * self.most
        # Every choice gets `most` logits; those that a smaller choice lacks are pushed down to probability 0.
        lacking = torch.arange(self.most) >= torch.as_tensor(classes.reshape(-1, 1).astype(np.int64))
        self.register_buffer("mask", lacking * -1e9 if lacking.any() else None, persistent=False)
        self.mask: Tensor | None

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise ``[*batch, width, most]``: logits + noise is largest with softmax probability."""
        uniform = torch.rand(*batch, self.width, self.most, generator=generator)
        return -torch.log(-torch.log(uniform.clamp_(1e-20, 1.0 - 1e-7)))

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        return (self._logits(outputs) + noise).argmax(-1)

    def mode(self, outputs: Tensor) -> Tensor:
        return self._logits(outputs).argmax(-1)

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """``[B]``, in nats, summed over the choices."""
        return torch.log_softmax(self._logits(outputs), -1).gather(-1, raw.unsqueeze(-1)).sum((-2, -1))

    def entropy(self, outputs: Tensor) -> Tensor:
        """``[B]``, in nats, summed over the choices."""
        log_probs = torch.log_softmax(self._logits(outputs), -1)
        return -(log_probs.exp() * log_probs).sum((-2, -1))

    def to_environment(self, raw: NDArray[Any]) -> NDArray[Any]:
        """``[B, width]`` indices from 0 -> ``[B, *space.shape]`` in the space's own numbering and dtype."""
        shape = (len(raw), *(self.space.shape or ()))
        return (raw.reshape(shape) + self.start).astype(self.space.dtype)

    def _logits(self, outputs: Tensor) -> Tensor:
        logits = outputs.view(*outputs.shape[:-1], self.width, self.most)
        return logits if self.mask is None else logits + self.mask


class DiagonalGaussian(nn.Module):
    """Box actions: independent normals, their log-deviation a parameter that no observation moves.

    Raw actions are float32 ``[B, width]``, -1..1 spanning each dimension's own bounds (a side without bounds counts
    in the environment's units). They are kept unclipped, because the log-probability is of the unclipped; only
    what is sent to the environment is clipped.
    """

    dtype = torch.float32

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        self.space = space
        self.width = self.outputs = int(np.prod(space.shape))
        low = space.low.astype(np.float64).flatten()
        high = space.high.astype(np.float64).flatten()
        bounded = np.isfinite(low) & np.isfinite(high)
        self.centre = np.where(bounded, (np.where(bounded, low, 0) + np.where(bounded, high, 0)) / 2, 0.0)
        self.half_range = np.where(bounded, (np.where(bounded, high, 1) - np.where(bounded, low, -1)) / 2, 1.0)
        self.low, self.high = low, high
        self.log_std = nn.Parameter(torch.zeros(self.width))

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise ``[*batch, width]``."""
        return torch.randn(*batch, self.width, generator=generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        return outputs + self.log_std.exp() * noise

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """``[B]``, in nats, of the raw action, summed over the dimensions."""
        z = (raw - outputs) * (-self.log_std).exp()
        return -0.5 * z.square().sum(-1) - (self.log_std.sum() + self.width * _HALF_LOG_TWO_PI)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``[B]``, in nats, of the raw action, summed over the dimensions."""
        return (self.log_std.sum() + self.width * (0.5 + _HALF_LOG_TWO_PI)).expand(outputs.shape[0])

    def to_environment(self, raw: NDArray[Any]) -> NDArray[Any]:
        """``[B, width]`` raw -> ``[B, *space.shape]``, scaled, clipped to the bounds, in the space's dtype."""
        action = np.clip(self.centre + self.half_range * raw, self.low, self.high)
        if np.issubdtype(self.space.dtype, np.integer):
            action = np.rint(action)
        shaped: NDArray[Any] = action.astype(self.space.dtype).reshape(len(raw), *self.space.shape)
        return shaped


Distribution = Categorical | DiagonalGaussian


def distribution_for(space: spaces.Space[Any]) -> Distribution:
    """The distribution over ``space``.

    Raises:
        UnsupportedSpace: the space is none of Box, Discrete, MultiDiscrete and MultiBinary.
    """
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return Categorical(space)
    if isinstance(space, spaces.Box):
        return DiagonalGaussian(space)
    raise UnsupportedSpace(
        f"actions are a {type(space).__name__} space. Usable are Box, Discrete, MultiDiscrete and MultiBinary; "
        "flatten others in a wrapper (gymnasium.wrappers.FlattenAction helps)."
    )
