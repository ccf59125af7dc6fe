"""From a loss's gradient with respect to networks' outputs to that with respect to their parameters.

Autograd costs more than the arithmetic of networks as small as PPO's (docs/speed-of-updates.md). Where the gradient
with respect to the outputs can be written down, which takes a few operations on ``[B, outputs]``, the rest of the way
is the same for every loss, and is here. Build after the :class:`~rlbridge.learn.minimise.Minimiser`, whose gradient
vector every ``parameter.grad`` is a view of; then, all under ``torch.no_grad``, ``forward``, ``backward``, and the
minimiser's ``descend``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlbridge.learn.nets import MLP, Activation


def backprop(*nets: nn.Module) -> Tape | Graph:
    """The fastest way through ``nets``, one after the other."""
    plain = [net for net in nets if isinstance(net, MLP)]
    return Tape(*plain) if len(plain) == len(nets) else Graph(*nets)


class Tape:
    """Linear layers and activations, forward and then back by hand, in buffers that the next pass uses again.

    Raises:
        ValueError: the parameters have no ``grad`` yet.
    """

    def __init__(self, *nets: MLP) -> None:
        self.steps: list[_Step] = []
        for net in nets:
            for number, (weight, bias) in enumerate(net.layers):
                activation = net.activation if number < net.activated else None
                self.steps.append(_Step(weight, bias, activation))
        self._rows = -1

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in]`` -> ``[B, out]``; valid until the next call, and not to be overwritten."""
        if x.shape[0] != self._rows:
            self._rows = x.shape[0]
            self._linear = [x.new_empty(self._rows, len(step.bias)) for step in self.steps]
            self._back = [x.new_empty(self._rows, step.weight.shape[1]) for step in self.steps]
            self._transposed = [buffer.t() for buffer in self._back]
        self._inputs, self._derived_from = [], []
        for step, buffer in zip(self.steps, self._linear, strict=True):
            self._inputs.append(x)
            x = torch.addmm(step.bias, x, step.weight_t, out=buffer)
            if step.activation is not None:
                x = step.activation.forward(buffer)
            self._derived_from.append(buffer)
        return x

    def backward(self, gradient: Tensor, to_input: bool = False) -> Tensor:
        """From the loss's gradient with respect to the last output ``[B, out]``, which is overwritten, to that with
        respect to the parameters, put (not added) in their ``grad``. Returns that with respect to the input
        ``[B, in]`` if asked for, valid until the next call."""
        transposed = gradient.t()
        for number in range(len(self.steps) - 1, -1, -1):
            step = self.steps[number]
            if step.activation is not None:
                step.activation.backward(gradient, self._derived_from[number])
            torch.mm(transposed, self._inputs[number], out=step.weight_gradient)
            torch.sum(gradient, 0, out=step.bias_gradient)
            if number or to_input:
                gradient = torch.mm(gradient, step.weight, out=self._back[number])
                transposed = self._transposed[number]
        return gradient


class _Step:
    """One layer of a tape, with what would cost a call to look up each time."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, activation: Activation | None) -> None:
        if weight.grad is None or bias.grad is None:
            raise ValueError("a tape writes to parameter.grad, which is missing: build the Minimiser first")
        self.weight, self.weight_t, self.bias = weight.detach(), weight.detach().t(), bias.detach()
        self.weight_gradient, self.bias_gradient = weight.grad, bias.grad
        self.activation = activation


class Graph:
    """The same for any networks, by autograd."""

    def __init__(self, *nets: nn.Module) -> None:
        self.nets = nets
        self.parameters = [parameter for net in nets for parameter in net.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        """``[B, *shape]`` -> ``[B, out]``."""
        with torch.enable_grad():
            y = x
            for net in self.nets:
                y = net(y)
        self._output = y
        return y.detach()

    def backward(self, gradient: Tensor, to_input: bool = False) -> Tensor:
        """As :meth:`Tape.backward`; the way on to the input is not offered."""
        if to_input:
            raise NotImplementedError("the gradient with respect to a graph's input")
        for parameter, found in zip(
            self.parameters, torch.autograd.grad(self._output, self.parameters, gradient), strict=True
        ):
            assert parameter.grad is not None
            parameter.grad.copy_(found)
        return gradient
