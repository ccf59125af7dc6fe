"""Multi-layer perceptrons; frozen targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.products import linear

_aten = torch.ops.aten
Net = TypeVar("Net", bound=nn.Module)


class Activation:
    """An elementwise function and its derivative.

    ``forward(x)`` may overwrite x with its result. ``backward(gradient, saved)`` overwrites the gradient; ``saved`` is
    x as forward left it.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.forward, self.backward = forward, backward

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        return self


def _tanh(x: Tensor) -> Tensor:
    if torch.is_grad_enabled() or not x.is_cpu:
        return torch.tanh_(x)
    rows = x.numpy()
    np.tanh(rows, out=rows)  # a tenth of torch's time (docs/speed-of-updates.md)
    return x


def _tanh_backward(gradient: Tensor, y: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(gradient, y, grad_input=gradient)  # type: ignore[no-any-return]


def _relu_backward(gradient: Tensor, y: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(gradient, y, 0, grad_input=gradient)  # type: ignore[no-any-return]


def _elu_backward(gradient: Tensor, y: Tensor) -> Tensor:
    return _aten.elu_backward.grad_input(gradient, 1, 1, 1, True, y, grad_input=gradient)  # type: ignore[no-any-return]


def _silu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    return _aten.silu_backward.grad_input(gradient, x, grad_input=gradient)  # type: ignore[no-any-return]


def _elu(x: Tensor) -> Tensor:
    return functional.elu(x, inplace=True)


ACTIVATIONS = {
    "tanh": Activation(_tanh, _tanh_backward),
    "relu": Activation(torch.relu_, _relu_backward),
    "elu": Activation(_elu, _elu_backward),
    "silu": Activation(functional.silu, _silu_backward),
}


class MLP(nn.Module):
    """Hidden layers with an activation after each, then a linear output (none if ``outputs`` is 0).

    ``initialiser`` draws the weights, with gain sqrt(2) in hidden layers and ``output_gain`` in the last.
    ``[B, inputs]`` float32 in, ``[B, outputs]`` (or ``[B, hidden[-1]]``) out.

    Attributes:
        layers: weight ``[out, in]`` and bias ``[out]`` of each, which are the parameters ``weight0``, ``bias0``,
            ``weight1`` and so on.
        hidden, last: those with an activation after them, and the one without.
        size: of the output.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str,
        output_gain: float,
        initialiser: Initialiser,
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        gains = [math.sqrt(2.0)] * len(hidden)
        if outputs:
            widths.append(outputs)
            gains.append(output_gain)
        self.activation, self.size = ACTIVATIONS[activation], widths[-1]
        # Looking parameters up by name would cost as much as a small layer's arithmetic.
        self.layers: list[tuple[nn.Parameter, nn.Parameter]] = []
        for number, (columns, rows, gain) in enumerate(zip(widths, widths[1:], gains, strict=False)):
            weight, bias = map(nn.Parameter, initialiser.layer(rows, columns, gain))
            self.register_parameter(f"weight{number}", weight)
            self.register_parameter(f"bias{number}", bias)
            self.layers.append((weight, bias))
        self.hidden, self.last = self.layers[: len(hidden)], self.layers[len(hidden) :]

    def forward(self, x: Tensor) -> Tensor:
        through = functional.linear if torch.is_grad_enabled() else linear
        for weight, bias in self.hidden:
            x = self.activation.forward(through(x, weight, bias))
        for weight, bias in self.last:
            x = through(x, weight, bias)
        return x


class Target(Generic[Net]):
    """A frozen copy of a network that follows it, slowly or by leaps (Mnih et al. 2015; Lillicrap et al. 2016).

    ``net`` is the copy: its parameters ask for no gradient, are views of one flat vector, and only :meth:`track`,
    :meth:`copy` and ``load_state_dict`` move them.
    """

    def __init__(self, source: Net) -> None:
        self.source = source
        self.net = copy.deepcopy(source).requires_grad_(False)
        # Walking over a module's parameters takes longer than moving them.
        self._theirs, self._ours = list(source.parameters()), list(self.net.parameters())
        self._buffers = list(zip(self.net.buffers(), source.buffers(), strict=True))
        flatten(self._ours)
        self._at: list[int] = []
        self._vectors: tuple[Tensor, Tensor] | None = None

    def track(self, tau: float) -> None:
        """target <- (1 - tau) target + tau source, parameter by parameter; buffers are copied."""
        with torch.no_grad():
            at = [parameter.data_ptr() for parameter in (*self._theirs, *self._ours)]
            if at != self._at:  # a minimiser has moved the parameters together, or a device change apart
                source, target = joined(self._theirs), joined(self._ours)
                self._at, self._vectors = at, None if source is None or target is None else (target, source)
            if self._vectors is None:
                torch._foreach_lerp_([*self._ours], [*self._theirs], tau)
            else:
                self._vectors[0].lerp_(self._vectors[1], tau)
            self._copy_buffers()

    def copy(self) -> None:
        """target <- source, bit for bit."""
        with torch.no_grad():
            for ours, theirs in zip(self._ours, self._theirs, strict=True):
                ours.copy_(theirs)
            self._copy_buffers()

    def _copy_buffers(self) -> None:
        for ours, theirs in self._buffers:
            ours.copy_(theirs)


def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Make ``parameters`` views of one new vector, in their order; returns that vector."""
    flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = flat[start:end].view_as(parameter)
        start = end
    return flat


def joined(parameters: Sequence[nn.Parameter]) -> Tensor | None:
    """The vector that ``parameters`` are views of, one after the other; None if they are not."""
    first = parameters[0].detach()
    storage, start = first.untyped_storage().data_ptr(), first.storage_offset()
    end = start
    for parameter in parameters:
        at_end = parameter.untyped_storage().data_ptr() == storage and parameter.storage_offset() == end
        if not (at_end and parameter.is_contiguous() and parameter.dtype == first.dtype):
            return None
        end += parameter.numel()
    return first.as_strided((end - start,), (1,), start)
