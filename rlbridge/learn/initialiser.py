"""The weights that networks begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Initialiser:
    """Draws first weights and biases from a generator of its own.

    Args:
        seed: of the generator.
        kind: ``orthogonal``: weights are (Saxe et al. 2014), with the gain that is asked for, and biases zero.
            ``uniform``: both are within 1 / sqrt(inputs), PyTorch's own beginning, smaller where the gain is below 1.
    """

    def __init__(self, seed: int, kind: str = "orthogonal") -> None:
        self.generator, self.kind = torch.Generator().manual_seed(seed), kind

    def layer(self, rows: int, columns: int, gain: float) -> tuple[Tensor, Tensor]:
        """A weight ``[rows, columns]`` and a bias ``[rows]``."""
        if self.kind == "orthogonal":
            return orthogonal(rows, columns, gain, self.generator), torch.zeros(rows)
        limit = min(gain, 1.0) / math.sqrt(columns)
        return self._uniform(limit, rows, columns), self._uniform(limit, rows)

    def _uniform(self, limit: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator).mul_(2.0 * limit).sub_(limit)


def orthogonal(rows: int, columns: int, gain: float, generator: torch.Generator) -> Tensor:
    """A random ``[rows, columns]`` matrix with orthonormal rows (or columns, if there are fewer), times ``gain``."""
    tall = torch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # without it the factorisation, not the generator, would choose the signs
    weight: Tensor = gain * (q if rows >= columns else q.T)
    return weight.to(torch.float32).contiguous()
