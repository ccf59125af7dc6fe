"""Action distributions: network outputs and noise in, actions out, with log-probability and entropy.

Three kinds of action meet here. The *network outputs* ``[B, outputs]`` are a distribution's parameters. The *raw*
action ``[B, width]`` is what was drawn, what rollouts store and log-probabilities are of: class indices from 0,
or unbounded numbers where -1..1 spans the space. The *environment's* action has its units, bounds and dtype.
Written out rather than taken from torch.distributions, whose objects cost more than the arithmetic here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlbridge.play.actions import Actions, Choices, Ranges
from rlbridge.play.encoding import UnsupportedSpace

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
LOG_STD_RANGE = (-20.0, 2.0)  # as the authors of soft actor-critic limit it


class Categorical(nn.Module):
    """Independent choices: Discrete, MultiDiscrete and MultiBinary. Raw actions are int64 ``[B, width]``."""

    dtype = torch.int64

    def __init__(self, actions: Choices) -> None:
        super().__init__()
        self.actions = actions
        self.width, self.most = actions.width, actions.most
        self.outputs = actions.numbers
        # Every choice gets `most` logits; those that a smaller choice lacks are pushed down to probability 0.
        lacking = torch.arange(self.most) >= torch.as_tensor(actions.classes.reshape(-1, 1))
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

    def draw(self, outputs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.int64]:
        """:meth:`sample` of numpy's arrays; without noise :meth:`mode`."""
        logits = outputs.reshape(-1, self.width, self.most)
        if self.mask is not None:
            logits = logits + self.mask.numpy()
        drawn: NDArray[np.int64] = (logits if noise is None else logits + noise).argmax(-1)
        return drawn

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """``[B]``, in nats, summed over the choices."""
        return torch.log_softmax(self._logits(outputs), -1).gather(-1, raw.unsqueeze(-1)).sum((-2, -1))

    def entropy(self, outputs: Tensor) -> Tensor:
        """``[B]``, in nats, summed over the choices."""
        log_probs = torch.log_softmax(self._logits(outputs), -1)
        return -(log_probs.exp() * log_probs).sum((-2, -1))

    def score(self, outputs: Tensor, raw: Tensor, weight: Tensor) -> Tensor:
        """The gradient of ``(weight * log_prob).sum()``, ``weight`` ``[B]``, with respect to the outputs.

        Statistics calls it the score; it is all that a policy gradient needs of a distribution (Williams 1992).
        """
        weight = weight.view(-1, 1, 1)
        gradient = torch.softmax(self._logits(outputs), -1).mul_(-weight)
        gradient.scatter_add_(-1, raw.unsqueeze(-1), weight.expand(-1, self.width, 1))
        return gradient.view(outputs.shape)

    def entropy_gradient(self, outputs: Tensor, weight: float) -> Tensor | None:
        """The gradient of ``weight * entropy.mean()`` with respect to the outputs."""
        log_probs = torch.log_softmax(self._logits(outputs), -1)
        probs = log_probs.exp()
        mean = (probs * log_probs).sum(-1, keepdim=True)
        return (mean - log_probs).mul_(probs).mul_(weight / outputs.shape[0]).view(outputs.shape)

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

    def __init__(self, actions: Ranges) -> None:
        super().__init__()
        self.actions = actions
        self.width = self.outputs = actions.width
        self.log_std = nn.Parameter(torch.zeros(self.width))

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise ``[*batch, width]``."""
        return torch.randn(*batch, self.width, generator=generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        return outputs + self.log_std.exp() * noise

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs

    def draw(self, outputs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """As that of :class:`Categorical`."""
        return outputs if noise is None else outputs + np.exp(self.log_std.detach().numpy()) * noise

    def log_prob(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """``[B]``, in nats, of the raw action, summed over the dimensions."""
        z = (raw - outputs) * (-self.log_std).exp()
        return -0.5 * z.square().sum(-1) - (self.log_std.sum() + self.width * _HALF_LOG_TWO_PI)

    def entropy(self, outputs: Tensor) -> Tensor:
        """``[B]``, in nats, of the raw action, summed over the dimensions."""
        return (self.log_std.sum() + self.width * (0.5 + _HALF_LOG_TWO_PI)).expand(outputs.shape[0])

    def score(self, outputs: Tensor, raw: Tensor, weight: Tensor) -> Tensor:
        """As that of :class:`Categorical`; the gradient with respect to ``log_std`` is put in its ``grad``."""
        deviation = self.log_std.exp()
        z = (raw - outputs).div_(deviation)
        gradient = weight.unsqueeze(1) * z
        assert self.log_std.grad is not None
        torch.sum((gradient * z).sub_(weight.unsqueeze(1)), 0, out=self.log_std.grad)
        return gradient.div_(deviation)

    def entropy_gradient(self, outputs: Tensor, weight: float) -> Tensor | None:
        """None: no output moves the entropy. The gradient with respect to ``log_std`` is added to its ``grad``."""
        assert self.log_std.grad is not None
        self.log_std.grad += weight
        return None


class Greedy(nn.Module):
    """The choice with the largest of the outputs, which are action values ``[B, n]`` (Q-learning)."""

    dtype = torch.int64

    def __init__(self, actions: Choices) -> None:
        super().__init__()
        self.actions, self.width, self.outputs = actions, 1, actions.most

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(*batch, 0)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        return self.mode(outputs)

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1, keepdim=True)

    def draw(self, outputs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.int64]:
        """As that of :class:`Categorical`."""
        best: NDArray[np.int64] = outputs.argmax(-1, keepdims=True)
        return best


class Deterministic(nn.Module):
    """tanh of the outputs: bounded actions without chance (deterministic policy gradient)."""

    dtype = torch.float32

    def __init__(self, actions: Ranges) -> None:
        super().__init__()
        self.actions, self.width, self.outputs = actions, actions.width, actions.width

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(*batch, 0)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        return self.mode(outputs)

    def mode(self, outputs: Tensor) -> Tensor:
        return torch.tanh(outputs)

    def draw(self, outputs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """As that of :class:`Categorical`."""
        return np.tanh(outputs)


class SquashedGaussian(nn.Module):
    """tanh of independent normals; mean and log-deviation are both outputs ``[B, 2 * width]`` (soft actor-critic).

    Densities are of the raw action in -1..1, with the tanh in it; not of the environment's units. So learning is the
    same whichever units an environment speaks.
    """

    dtype = torch.float32

    def __init__(self, actions: Ranges) -> None:
        super().__init__()
        self.actions, self.width, self.outputs = actions, actions.width, 2 * actions.width

    def noise(self, *batch: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise ``[*batch, width]``."""
        return torch.randn(*batch, self.width, generator=generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = outputs.chunk(2, -1)
        return torch.tanh(mean + log_std.clamp(*LOG_STD_RANGE).exp() * noise)

    def mode(self, outputs: Tensor) -> Tensor:
        return torch.tanh(outputs.chunk(2, -1)[0])

    def draw(self, outputs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """As that of :class:`Categorical`."""
        unbounded: NDArray[np.float32] = outputs[:, : self.width]
        if noise is not None:
            unbounded = unbounded + np.exp(outputs[:, self.width :].clip(*LOG_STD_RANGE)) * noise
        return np.tanh(unbounded)

    def sample_with_log_prob(self, outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions ``[B, width]`` and their log-probability ``[B]``, in nats; gradients flow through both."""
        mean, log_std = outputs.chunk(2, -1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        unbounded = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI
        # log(1 - tanh(u)^2), written so that it stays finite for large u.
        slope = 2.0 * (math.log(2.0) - unbounded - functional.softplus(-2.0 * unbounded))
        return torch.tanh(unbounded), (gaussian - slope).sum(-1)

    def backward(self, outputs: Tensor, noise: Tensor, to_action: Tensor, temperature: Tensor) -> Tensor:
        """From a loss's gradient with respect to the drawn actions ``[B, width]`` to that of ``loss + temperature *
        log_prob.sum()`` with respect to ``outputs`` ``[B, outputs]``: the way back through the method above."""
        mean, log_std = outputs.chunk(2, -1)
        spread = log_std.clamp(*LOG_STD_RANGE).exp() * noise
        action = torch.tanh(mean + spread)
        # The log-probability grows with u = mean + spread by 2 tanh(u), and falls with log_std by one more.
        to_mean = to_action * (1.0 - action.square()) + 2.0 * temperature * action
        to_log_std = to_mean * spread - temperature
        inside = (log_std >= LOG_STD_RANGE[0]) & (log_std <= LOG_STD_RANGE[1])
        return torch.cat([to_mean, to_log_std * inside], -1)


Distribution = Categorical | DiagonalGaussian | Greedy | Deterministic | SquashedGaussian


def distribution_for(algorithm: str, actions: Actions) -> Distribution:
    """What an algorithm's policy draws actions from.

    Raises:
        UnsupportedSpace: a dimension without bounds, where the policy can only act between bounds.
    """
    if isinstance(actions, Choices):
        return Greedy(actions) if algorithm == "dqn" else Categorical(actions)
    if algorithm == "ppo":
        return DiagonalGaussian(actions)
    if not actions.bounded.all():
        raise UnsupportedSpace(
            f"{algorithm} acts between bounds, and dimension {int(actions.bounded.argmin())} of the actions has none "
            f"({actions.space}). Bound it in the environment or with gymnasium.wrappers.TransformAction, or use "
            "algorithm.name=ppo."
        )
    return SquashedGaussian(actions) if algorithm == "sac" else Deterministic(actions)
