"""A policy's outputs for a few observations, without torch.

Between two steps of an environment a call into torch finds the processor's caches cold, and its dispatcher takes
longer than the arithmetic: with two hidden layers of 64, the actions of 8 CartPoles took torch 186 us there, and take
numpy 66 (``python benchmarks/gradient_steps.py acting``). For many rows or wide layers torch is not slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rlbridge.learn.dueling import Dueling
from rlbridge.learn.nets import ACTIVATIONS, MLP
from rlbridge.learn.normalise import LIMIT, Normaliser

Rows = NDArray[np.float32]
MOST_PRODUCTS = 2**18
"""Multiplications of one layer up to which numpy's OpenBLAS keeps to the calling thread, and is not slower."""


class FewRows:
    """What a policy's networks give for few rows, computed by numpy on the memory of torch's own weights.

    The numbers are torch's up to rounding, and the same whenever the weights and the number of rows are.

    Args:
        normaliser: of the observations; None for none.
        nets: which the rows go through, one after the other.
    """

    def __init__(self, normaliser: Normaliser | None, nets: Sequence[nn.Module]) -> None:
        self._dueling = isinstance(nets[-1], Dueling)
        mlps = [net.streams if isinstance(net, Dueling) else net for net in nets]
        self._mlps = [mlp for mlp in mlps if isinstance(mlp, MLP)]
        self._known = len(self._mlps) == len(nets)
        self._tensors: list[Tensor] = [tensor for mlp in self._mlps for layer in mlp.layers for tensor in layer]
        self._most = max((tensor.numel() for tensor in self._tensors), default=0)
        if normaliser is not None:
            self._tensors += [normaliser.shift, normaliser.scale]
        self._normalised = normaliser is not None
        self._at: list[int] = []
        self._arrays: list[Any] = []
        self._activations = [
            _ACTIVATIONS[mlp.activation] if number < len(mlp.hidden) else None
            for mlp in self._mlps
            for number in range(len(mlp.layers))
        ]

    def takes(self, rows: int) -> bool:
        """Whether it can, and is not slower than torch."""
        return self._known and rows * self._most <= MOST_PRODUCTS and self._tensors[0].device.type == "cpu"

    def __call__(self, rows: Rows) -> Rows:
        """Encoded observations ``[B, size]`` -> the distribution's parameters ``[B, outputs]``."""
        arrays = self._views()
        if self._normalised:
            rows = (rows - arrays[-2]) * arrays[-1]
            rows = np.minimum(np.maximum(rows, -LIMIT, out=rows), LIMIT, out=rows)
        for number, activation in enumerate(self._activations):
            rows = rows @ arrays[2 * number]
            rows += arrays[2 * number + 1]
            if activation is not None:
                rows = activation(rows)
        if self._dueling:
            value, advantage = rows[:, :1], rows[:, 1:]
            rows = value + advantage - advantage.mean(-1, keepdims=True)
        return rows

    def _views(self) -> list[Any]:
        """Weights ``[in, out]`` and biases of all layers, shift and scale, wherever a minimiser has moved them."""
        at = [tensor.data_ptr() for tensor in self._tensors]
        if at != self._at:
            self._at, self._arrays = at, [tensor.detach().numpy().T for tensor in self._tensors]
        return self._arrays


def _relu(x: Rows) -> Rows:
    return np.maximum(x, 0.0, out=x)


def _tanh(x: Rows) -> Rows:
    return np.tanh(x, out=x)


def _elu(x: Rows) -> Rows:
    return np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))


def _silu(x: Rows) -> Rows:
    x *= 0.5 + 0.5 * np.tanh(0.5 * x)  # the logistic function, which does not overflow this way
    return x


_ACTIVATIONS: dict[Any, Callable[[Rows], Rows]] = {
    ACTIVATIONS["tanh"]: _tanh,
    ACTIVATIONS["relu"]: _relu,
    ACTIVATIONS["elu"]: _elu,
    ACTIVATIONS["silu"]: _silu,
}
