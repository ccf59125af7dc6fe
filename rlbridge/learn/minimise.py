"""Adam over all parameters at once, as one flat vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rlbridge.learn.nets import flatten


class Minimiser:
    """Adam (Kingma and Ba 2015) with the gradient's norm limited.

    For small networks a gradient step costs dispatch, not arithmetic. So the parameters become views of one flat
    vector, and norm, clipping and Adam take a handful of kernels, however many layers there are. (torch.optim would
    do on that vector too, but is slower there, and its first use imports the compiler: a second or more.)

    Args:
        parameters: what to move; only they get gradients.
        learning_rate: may be assigned anew at any time.
        max_gradient_norm: gradients longer than this are scaled down to it; None = never.
        betas, epsilon: Adam's decays of the two moments, and what keeps it from dividing by zero.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        max_gradient_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-5,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.max_gradient_norm = learning_rate, max_gradient_norm
        self.betas, self.epsilon = betas, epsilon
        self.flat = flatten(self.parameters)
        self.gradient = torch.zeros_like(self.flat)
        self.first_moment = torch.zeros_like(self.flat)
        self.second_moment = torch.zeros_like(self.flat)
        self.no_norm = self.flat.new_zeros(())
        self.steps = 0

    def step(self, loss: Tensor) -> Tensor:
        """Go one step down ``loss``; returns the gradient's norm before clipping, a scalar tensor (0 if unlimited)."""
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            gradient = torch.cat([g.flatten() for g in gradients], out=self.gradient)
            norm = self.no_norm
            if self.max_gradient_norm is not None:
                norm = torch.linalg.vector_norm(gradient)
                gradient.mul_((self.max_gradient_norm / (norm + 1e-6)).clamp_(max=1.0))
            beta1, beta2 = self.betas
            self.steps += 1
            self.first_moment.lerp_(gradient, 1.0 - beta1)
            self.second_moment.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
            # The bias corrections 1 - beta^t, taken out of the vectors and into the two scalars.
            correction = math.sqrt(1.0 - beta2**self.steps)
            rate = self.learning_rate * correction / (1.0 - beta1**self.steps)
            denominator = self.second_moment.sqrt().add_(self.epsilon * correction)
            self.flat.addcdiv_(self.first_moment, denominator, value=-rate)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Adam's two moments (flat, in parameter order) and its step count."""
        return {"first_moment": self.first_moment, "second_moment": self.second_moment, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.steps = state["steps"]
