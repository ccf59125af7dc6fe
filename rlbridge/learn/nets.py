"""Multi-layer perceptrons, initialised orthogonally from a generator of one's own; twins of them; frozen targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "elu": functional.elu, "silu": functional.silu}


class MLP(nn.Module):
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
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        widths = [inputs, *hidden]
        gains = [math.sqrt(2.0)] * len(hidden)
        self.size = widths[-1]
        if outputs:
            widths.append(outputs)
            gains.append(output_gain)
            self.size = outputs
        layers = []
        for layer, gain in enumerate(gains):
            weight = nn.Parameter(orthogonal(widths[layer + 1], widths[layer], gain, generator))
            bias = nn.Parameter(torch.zeros(widths[layer + 1]))
            self.register_parameter(f"weight{layer}", weight)
            self.register_parameter(f"bias{layer}", bias)
            layers.append((weight, bias))
        # Looking parameters up by name would cost as much as a small layer's arithmetic.
        self.hidden, self.last = layers[: len(hidden)], layers[len(hidden) :]

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in self.hidden:
            x = self.activation(functional.linear(x, weight, bias))
        for weight, bias in self.last:
            x = functional.linear(x, weight, bias)
        return x


class TwinMLP(nn.Module):
    """Several networks of one shape as one module: the critics Q1 and Q2 (Fujimoto et al. 2018), or a single critic.

    Each is what :class:`MLP` would be with one output and gain 1, drawn one after the other from ``generator``.
    Parameters have the twins as first axis: ``weight0`` ``[twins, hidden[0], inputs]``, ``bias0``
    ``[twins, hidden[0]]`` and so on. ``[B, inputs]`` float32 in, ``[twins, B]`` out.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], activation: str, generator: torch.Generator, twins: int = 2
    ) -> None:
        super().__init__()
        self.activation, self.twins = ACTIVATIONS[activation], twins
        singles = [MLP(inputs, hidden, 1, activation, 1.0, generator) for _ in range(twins)]
        self.layers = []
        for layer in range(len(hidden) + 1):
            weight, bias = (
                nn.Parameter(torch.stack([getattr(single, f"{name}{layer}").detach() for single in singles]))
                for name in ("weight", "bias")
            )
            self.register_parameter(f"weight{layer}", weight)
            self.register_parameter(f"bias{layer}", bias)
            self.layers.append((weight, bias))

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(self.twins, *x.shape)
        for weight, bias in self.layers[:-1]:
            x = self.activation(torch.baddbmm(bias.unsqueeze(1), x, weight.mT))
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT).squeeze(-1)


class Target:
    """A frozen copy of a network that follows it, slowly or by leaps (Mnih et al. 2015; Lillicrap et al. 2016).

    ``net`` is the copy: its parameters ask for no gradient, are views of one flat vector, and only :meth:`track`,
    :meth:`copy` and ``load_state_dict`` move them.
    """

    def __init__(self, source: nn.Module) -> None:
        self.source = source
        self.net = copy.deepcopy(source).requires_grad_(False)
        flatten(list(self.net.parameters()))

    def track(self, tau: float) -> None:
        """target <- (1 - tau) target + tau source, parameter by parameter; buffers are copied."""
        with torch.no_grad():
            theirs, ours = list(self.source.parameters()), list(self.net.parameters())
            source, target = joined(theirs), joined(ours)
            if source is not None and target is not None:
                target.lerp_(source, tau)
            else:
                torch._foreach_lerp_([*ours], [*theirs], tau)
            self._copy_buffers()

    def copy(self) -> None:
        """target <- source, bit for bit."""
        with torch.no_grad():
            for ours, theirs in zip(self.net.parameters(), self.source.parameters(), strict=True):
                ours.copy_(theirs)
            self._copy_buffers()

    def _copy_buffers(self) -> None:
        for ours, theirs in zip(self.net.buffers(), self.source.buffers(), strict=True):
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
