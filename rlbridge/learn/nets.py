"""Multi-layer perceptrons, initialised orthogonally from a generator of one's own; twins of them; frozen targets.

For small networks a gradient step costs dispatch, not arithmetic, so this file cares for how few things are done
around each matrix product. docs/speed-of-updates.md has the measurements.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_aten = torch.ops.aten
_Parameters = Sequence[tuple[Tensor, Tensor]]


class Activation:
    """An elementwise function and its derivative.

    ``forward(x)`` may overwrite x. ``backward(gradient, saved)`` overwrites the gradient, where ``saved`` is
    forward's result or, if ``from_input``, its argument (which forward then leaves alone).
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        backward: Callable[[Tensor, Tensor], Tensor],
        from_input: bool = False,
    ) -> None:
        self.forward, self.backward, self.from_input = forward, backward, from_input

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        return self


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
    "tanh": Activation(torch.tanh_, _tanh_backward),
    "relu": Activation(torch.relu_, _relu_backward),
    "elu": Activation(_elu, _elu_backward),
    "silu": Activation(functional.silu, _silu_backward, from_input=True),
}


class Layers(nn.Module):
    """Linear layers one after the other, an activation after the first ``activated`` of them.

    Weights are ``[out, in]`` with biases ``[out]``, or ``[twins, out, in]`` with ``[twins, out]`` for several networks
    at once; they are the parameters ``weight0``, ``bias0``, ``weight1`` and so on.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], activated: int, activation: str) -> None:
        super().__init__()
        self.activation, self.activated = ACTIVATIONS[activation], activated
        # Looking parameters up by name would cost as much as a small layer's arithmetic.
        self.layers: list[tuple[nn.Parameter, nn.Parameter]] = []
        for number, layer in enumerate(layers):
            weight, bias = nn.Parameter(layer[0]), nn.Parameter(layer[1])
            self.register_parameter(f"weight{number}", weight)
            self.register_parameter(f"bias{number}", bias)
            self.layers.append((weight, bias))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in]`` (or ``[twins, B, in]``) -> ``[B, out]`` (or ``[twins, B, out]``)."""
        if not self.layers or not torch.is_grad_enabled():
            return _run(self, self.layers, x, None)
        if x.requires_grad and self.layers[0][0].requires_grad:
            # Only autograd itself knows which of the two gradients somebody will ask for, and leaves out the other.
            return _run(self, self.layers, x, None)
        return _Node.apply(self, self.layers, x, *(parameter for layer in self.layers for parameter in layer))  # type: ignore[no-any-return,no-untyped-call]

    def fixed(self, x: Tensor) -> Tensor:
        """The same with parameters held constant: differentiable with respect to ``x`` alone, and faster."""
        return _Node.apply(self, self.layers, x)  # type: ignore[no-any-return,no-untyped-call]


class MLP(Layers):
    """Hidden layers with an activation after each, then a linear output (none if ``outputs`` is 0).

    Weights are orthogonal (Saxe et al. 2014), with gain sqrt(2) in hidden layers and ``output_gain`` in the
    last; biases are zero. ``[B, inputs]`` float32 in, ``[B, outputs]`` (or ``[B, hidden[-1]]``) out.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        widths = [inputs, *hidden]
        gains = [math.sqrt(2.0)] * len(hidden)
        if outputs:
            widths.append(outputs)
            gains.append(output_gain)
        layers = [
            (orthogonal(rows, columns, gain, generator), torch.zeros(rows))
            for columns, rows, gain in zip(widths, widths[1:], gains, strict=False)
        ]
        super().__init__(layers, len(hidden), activation)
        self.hidden, self.last = self.layers[: len(hidden)], self.layers[len(hidden) :]
        self.size = widths[-1]


class TwinMLP(Layers):
    """Several networks of one shape as one module: the critics Q1 and Q2 (Fujimoto et al. 2018), or a single critic.

    Each is what :class:`MLP` would be with one output and gain 1, drawn one after the other from ``generator``.
    Parameters have the twins as first axis: ``weight0`` ``[twins, hidden[0], inputs]``, ``bias0``
    ``[twins, hidden[0]]`` and so on. ``[B, inputs]`` float32 in, ``[twins, B]`` out.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], activation: str, generator: torch.Generator, twins: int = 2
    ) -> None:
        singles = [MLP(inputs, hidden, 1, activation, 1.0, generator).layers for _ in range(twins)]
        layers = [
            (torch.stack([weight.detach() for weight, _ in same]), torch.stack([bias.detach() for _, bias in same]))
            for same in zip(*singles, strict=True)
        ]
        super().__init__(layers, len(hidden), activation)
        self.twins = twins

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.expand(self.twins, *x.shape)).squeeze(-1)

    def fixed(self, x: Tensor, twins: int | None = None) -> Tensor:
        """As :meth:`Layers.fixed`; of the first ``twins`` networks alone ``[twins, B]``, if that many will do."""
        layers = self.layers if twins is None else [(weight[:twins], bias[:twins]) for weight, bias in self.layers]
        return _Node.apply(self, layers, x.expand(len(layers[0][0]), *x.shape)).squeeze(-1)  # type: ignore[no-any-return,no-untyped-call]


def _run(net: Layers, layers: _Parameters, x: Tensor, saved: list[Tensor] | None) -> Tensor:
    """The output of ``net`` with these parameters. What going back will need is put in ``saved``: each layer's input,
    and what its activation's derivative is taken from."""
    for number, (weight, bias) in enumerate(layers):
        inputs = x
        if x.ndim == 2:
            x = torch.addmm(bias, x, weight.t())
        elif weight.shape[1] == 1:
            # One output each: the product of the transposed takes a fifth of the time.
            x = torch.baddbmm(bias.unsqueeze(2), weight, x.mT).mT
        else:
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
        before = x
        if number < net.activated:
            x = net.activation.forward(x)
        if saved is not None:
            saved += inputs, before if net.activation.from_input else x
    return x


class _Node(torch.autograd.Function):
    """A whole network as one node of autograd's graph, with parameters as arguments or, if there are none, constant."""

    @staticmethod
    def forward(ctx: Any, net: Layers, layers: _Parameters, x: Tensor, *parameters: Tensor) -> Tensor:
        saved: list[Tensor] = []
        output = _run(net, layers, x, saved)
        # An output that is not needed again may be overwritten by who asked for it.
        if net.activated < len(net.layers):
            saved.pop()
        ctx.net, ctx.layers = net, layers
        ctx.save_for_backward(*saved)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        net, layers, saved = ctx.net, ctx.layers, ctx.saved_tensors
        wants_input, wants_parameters = ctx.needs_input_grad[2], any(ctx.needs_input_grad[3:])
        product = torch.mm if gradient.ndim == 2 else torch.bmm
        found: list[Tensor | None] = []
        for number in range(len(layers) - 1, -1, -1):
            if number < net.activated:
                if number == len(layers) - 1:
                    gradient = gradient.clone()  # it is not ours to overwrite
                gradient = net.activation.backward(gradient, saved[2 * number + 1])
            if wants_parameters:
                found += gradient.sum(-2), product(gradient.mT, saved[2 * number])
            if number or wants_input:
                gradient = product(gradient, layers[number][0])
        return None, None, gradient if wants_input else None, *reversed(found)


class Target:
    """A frozen copy of a network that follows it, slowly or by leaps (Mnih et al. 2015; Lillicrap et al. 2016).

    ``net`` is the copy: its parameters ask for no gradient, are views of one flat vector, and only :meth:`track`,
    :meth:`copy` and ``load_state_dict`` move them.
    """

    def __init__(self, source: nn.Module) -> None:
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


def orthogonal(rows: int, columns: int, gain: float, generator: torch.Generator) -> Tensor:
    """A random ``[rows, columns]`` matrix with orthonormal rows (or columns, if there are fewer), times ``gain``."""
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # without it the factorisation, not the generator, would choose the signs
    weight: Tensor = gain * (q if rows >= columns else q.T)
    return weight.to(torch.float32).contiguous()
