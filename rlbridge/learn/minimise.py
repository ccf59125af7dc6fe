"""Adam over all parameters at once, as one flat vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rlbridge.learn.nets import flatten


class Minimiser:
    """Adam (Kingma and Ba 2015) with the gradient's norm limited.

    For small networks a gradient step costs dispatch, not arithmetic. So the parameters become views of one flat
    vector, their ``grad`` of another, and norm, clipping and Adam take five kernels, however many layers there are.
    (torch.optim would do on that vector too, but its bookkeeping costs as much as the arithmetic, and its first use
    imports the compiler: a second or more.)

    Args:
        parameters: what to move; only they get gradients.
        learning_rate: may be assigned anew at any time.
        max_gradient_norm: gradients longer than this are scaled down to it; None = never.
        betas, epsilon: Adam's decays of the two moments, and what keeps it from dividing by zero.

    Attributes:
        flat, gradient: all parameters and their gradient, in order.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        max_gradient_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.max_gradient_norm = learning_rate, max_gradient_norm
        self.betas, self.epsilon = betas, epsilon
        self.flat = flatten(self.parameters)
        self.gradient = torch.zeros_like(self.flat)
        start = 0
        for parameter in self.parameters:
            end = start + parameter.numel()
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end
        self.first_moment = torch.zeros_like(self.flat)
        self.second_moment = torch.zeros_like(self.flat)
        self.steps = 0
        self._steps = self.flat.new_zeros(())
        self._no_norm = self.flat.new_zeros(())

    def step(self, loss: Tensor) -> Tensor:
        """Go one step down ``loss``; returns the gradient's norm before clipping, a scalar tensor (0 if unlimited)."""
        gradients = torch.autograd.grad(loss, self.parameters)
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self.gradient)
        return self.descend()

    def descend(self) -> Tensor:
        """Go one step against ``gradient``, which is overwritten; returns its norm as :meth:`step` does."""
        norm, scale = self._no_norm, None
        if self.max_gradient_norm is not None:
            norm = torch.linalg.vector_norm(self.gradient)
            scale = (norm / self.max_gradient_norm).clamp_(min=1.0)
        self.steps += 1
        self._steps.fill_(self.steps)
        # The moments of a weight that gets no gradient any more (a dead relu's) fade into subnormal numbers, which the
        # processor takes some hundred times as long for: six times as long for all of Adam, measured on CartPole.
        torch.set_flush_denormal(True)
        torch._fused_adam_(
            [self.flat],
            [self.gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self._steps],
            lr=self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,  # the kernel divides by it
        )
        torch.set_flush_denormal(False)  # environments in this process count as they do elsewhere
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Adam's two moments (flat, in parameter order) and its step count."""
        return {"first_moment": self.first_moment, "second_moment": self.second_moment, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.steps = state["steps"]
