"""Multi-layer perceptrons, initialised orthogonally from a generator of one's own."""

from __future__ import annotations

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


def orthogonal(rows: int, columns: int, gain: float, generator: torch.Generator) -> Tensor:
    """A random ``[rows, columns]`` matrix with orthonormal rows (or columns, if there are fewer), times ``gain``."""
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # without it the factorisation, not the generator, would choose the signs
    weight: Tensor = gain * (q if rows >= columns else q.T)
    return weight.to(torch.float32).contiguous()
