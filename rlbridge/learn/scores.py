"""Gradients of log-probabilities and entropies with respect to a network's outputs, written out.

The first is what statistics calls the score, and all that a policy gradient needs of a distribution (Williams 1992).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlbridge.learn.distributions import Categorical, DiagonalGaussian


def score(distribution: Categorical | DiagonalGaussian, outputs: Tensor, raw: Tensor, weight: Tensor) -> Tensor:
    """The gradient of ``(weight * log_prob).sum()`` with respect to ``outputs`` ``[B, outputs]``.

    That with respect to the distribution's own parameter, where it has one, is put in its ``grad``.

    Args:
        distribution: over the actions.
        outputs: ``[B, outputs]``, the network's.
        raw: ``[B, width]``, the actions.
        weight: ``[B]``.
    """
    if isinstance(distribution, Categorical):
        weight = weight.view(-1, 1, 1)
        gradient = torch.softmax(_logits(distribution, outputs), -1).mul_(-weight)
        gradient.scatter_add_(-1, raw.unsqueeze(-1), weight.expand(-1, distribution.width, 1))
        return gradient.view(outputs.shape)
    deviation = distribution.log_std.exp()
    z = (raw - outputs).div_(deviation)
    gradient = weight.unsqueeze(1) * z
    assert distribution.log_std.grad is not None
    torch.sum((gradient * z).sub_(weight.unsqueeze(1)), 0, out=distribution.log_std.grad)
    return gradient.div_(deviation)


def entropy_gradient(distribution: Categorical | DiagonalGaussian, outputs: Tensor, weight: float) -> Tensor | None:
    """The gradient of ``weight * entropy.mean()`` with respect to ``outputs`` ``[B, outputs]``; None where it is 0.

    That with respect to the distribution's own parameter, where it has one, is added to its ``grad``.
    """
    if isinstance(distribution, Categorical):
        log_probs = torch.log_softmax(_logits(distribution, outputs), -1)
        probs = log_probs.exp()
        mean = (probs * log_probs).sum(-1, keepdim=True)
        return (mean - log_probs).mul_(probs).mul_(weight / outputs.shape[0]).view(outputs.shape)
    assert distribution.log_std.grad is not None
    distribution.log_std.grad += weight
    return None


def _logits(distribution: Categorical, outputs: Tensor) -> Tensor:
    logits = outputs.view(-1, distribution.width, distribution.most)
    return logits if distribution.mask is None else logits + distribution.mask
