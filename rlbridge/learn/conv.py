"""Convolutions for observations that are pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from rlbridge.config import NetworkShape
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.nets import MLP
from rlbridge.play.encoding import Encoder


class Kernels(NamedTuple):
    """One convolution: its output channels, and its square kernels; ``padding`` zeros surround what they go over."""

    channels: int
    side: int
    stride: int
    padding: int


LARGE = (Kernels(32, 8, 4, 0), Kernels(64, 4, 2, 0), Kernels(64, 3, 1, 0))
"""The convolutions of Mnih et al. 2015, for pictures of at least ``LARGE_SIDE`` pixels a side."""
LARGE_SIDE = 36
SMALL = (Kernels(32, 3, 2, 1), Kernels(64, 3, 2, 1), Kernels(64, 3, 1, 1))
"""For smaller pictures; those kernels would not fit into them."""


class Convolutions(nn.Module):
    """Convolutions with ReLU after each, then what :class:`rlbridge.learn.nets.MLP` is on a row of all their outputs.

    ``[B, *shape]`` uint8 in, ``[B, outputs]`` float32 (or ``[B, hidden[-1]]``) out. Pixels become float32 here, where
    the network lives, so that bytes are what travels to a GPU. ``initialiser`` draws the weights with gain
    sqrt(2).

    Args:
        shape: of a picture: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``; see :func:`channels_first`.
        white: the largest value of a pixel, which becomes 1.
        hidden, outputs, activation, output_gain, initialiser: as for the MLP.

    Attributes:
        shape, white: as given.
        axes: the shape with its channels: ``(H, W, 1)`` for ``[H, W]``.
        order: the permutation that makes ``[B, *axes]`` into ``[B, C, H, W]``.
        layers: kernels, weight ``[channels, C, side, side]`` and bias ``[channels]`` of each convolution, in order.
        mlp: what comes after; its input is ``[B, C * H * W]`` in this order of axes.
        size: of the output.
    """

    def __init__(
        self,
        shape: Sequence[int],
        white: float,
        hidden: Sequence[int],
        outputs: int,
        activation: str,
        output_gain: float,
        initialiser: Initialiser,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.axes = (*shape, 1) if len(shape) == 2 else self.shape
        self.order = (0, 1, 2, 3) if channels_first(self.axes) else (0, 3, 1, 2)
        self.white = white
        channels, height, width = (self.axes[axis - 1] for axis in self.order[1:])
        stack = LARGE if min(height, width) >= LARGE_SIDE else SMALL
        self.layers: list[tuple[Kernels, nn.Parameter, nn.Parameter]] = []
        for index, kernels in enumerate(stack):
            side, stride, padding = kernels.side, kernels.stride, kernels.padding
            flat, shifts = initialiser.layer(kernels.channels, channels * side * side, math.sqrt(2.0))
            weight = nn.Parameter(flat.view(kernels.channels, channels, side, side))
            bias = nn.Parameter(shifts)
            self.register_parameter(f"weight{index}", weight)
            self.register_parameter(f"bias{index}", bias)
            self.layers.append((kernels, weight, bias))
            channels = kernels.channels
            height, width = ((pixels + 2 * padding - side) // stride + 1 for pixels in (height, width))
        self.mlp = MLP(channels * height * width, hidden, outputs, activation, output_gain, initialiser)
        self.size = self.mlp.size

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.reshape(-1, *self.axes).permute(self.order)
        # One layout, so that a picture gives the same bits however its axes came; this one is the faster on a CPU.
        x = x.to(torch.float32, memory_format=torch.channels_last) / self.white
        for kernels, weight, bias in self.layers:
            x = torch.relu(functional.conv2d(x, weight, bias, kernels.stride, kernels.padding))
        return self.mlp(x.flatten(1))  # type: ignore[no-any-return]


def channels_first(axes: Sequence[int]) -> bool:
    """Whether a picture of three ``axes`` is ``[C, H, W]``: if the first is the shorter of the two outer ones.

    Of two alike, the last is the channels, as Gymnasium renders. So the guess is wrong only for pictures that have
    more channels than rows (or, ``[C, H, W]``, at least as many as columns); a wrapper can turn them round.
    """
    return axes[0] < axes[-1]


def network_for(
    encoder: Encoder,
    network: NetworkShape,
    initialiser: Initialiser,
    outputs: int = 0,
    output_gain: float = 1.0,
) -> MLP | Convolutions:
    """What suits the observations: convolutions for images, else an MLP; without ``outputs``, hidden layers alone."""
    after = network.hidden, outputs, network.activation, output_gain, initialiser
    if isinstance(encoder.space, spaces.Box) and encoder.image:
        white = max(float(encoder.space.high.max()), 1.0)
        return Convolutions(encoder.shape, white, *after)
    return MLP(encoder.size, *after)
