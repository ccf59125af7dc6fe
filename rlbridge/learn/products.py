"""Products of matrices, by whichever of torch's two libraries is the faster one on this processor.

torch multiplies with MKL, which takes processors other than Intel's for older ones than they are: where these have
AVX-512, oneDNN, which comes with torch too, is twice as fast (docs/speed-of-updates.md). Which one is used follows from
the processor, the sizes and the type of numbers alone, never from a measurement: the same training gives the same
weights again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# With fewer multiplications, calling oneDNN takes longer than all of it by MKL (256 x 64 by 64 x 64: as long).
_LARGE = 1 << 21


def linear(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """``x`` ``[B, in]`` times the transpose of ``weight`` ``[out, in]``, plus ``bias`` ``[out]``: ``[B, out]``, in
    ``out`` or in memory of its own. Nothing is noted for autograd."""
    if _onednn is not None and _fits(x, weight.shape[0]) and bias.is_contiguous():  # it takes no strides
        return _onednn(x, weight, bias, "none", [], "")
    return torch.addmm(bias, x, weight.t(), out=out)


def product(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """``a`` ``[n, k]`` times ``b`` ``[k, m]``: ``[n, m]``, in ``out`` or in memory of its own."""
    if _onednn is not None and _fits(a, b.shape[1]):
        return _onednn(a, b.t(), None, "none", [], "")
    return torch.mm(a, b, out=out)


def _fits(a: Tensor, columns: int) -> bool:
    return a.numel() * columns >= _LARGE and a.is_cpu and a.dtype == torch.float32


def _linear_of_onednn() -> Callable[..., Tensor] | None:
    """``f(x, weight, bias, "none", [], "")`` as ``linear``; None where MKL is as fast, and in another torch."""
    processor: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not processor.get("avx512_f") or "Intel" in processor.get("cpu_name", "Intel"):
        return None
    try:
        found: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default  # not public: tried out
        x, weight = torch.ones(2, 3), torch.ones(4, 3)
        works = torch.equal(found(x, weight, torch.ones(4), "none", [], ""), torch.full((2, 4), 4.0))
        return found if works and torch.equal(found(x, weight, None, "none", [], ""), torch.full((2, 4), 3.0)) else None
    except (AttributeError, RuntimeError, TypeError):
        return None


_onednn = _linear_of_onednn()
