"""From a loss's gradient with respect to networks' outputs to that with respect to their parameters and inputs.

Autograd costs small networks more than their arithmetic, and wide ones the time that fresh memory takes
(docs/speed-of-updates.md). Where the gradient with respect to the outputs can be written down, which takes a few
operations on ``[B, outputs]``, the rest of the way is the same for every loss, and is here. All of it is called under
``torch.no_grad``: ``forward``, ``backward``, then the minimiser's ``descend``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlbridge.learn.nets import MLP
from rlbridge.learn.products import linear, product

_NARROW = 16


class Memory:
    """Where tapes keep what they need between forward and back, and use it again in the next step.

    Networks that are never under way at the same time, such as a target and what follows it, may share one: it then
    stays in the processor's cache. A tape that goes back after another went forward in its place is refused.
    """

    def __init__(self) -> None:
        self.user: Tape | None = None
        self._buffers: dict[tuple[str | int, ...], Tensor] = {}

    def take(self, like: Tensor, *key: str | int, columns: int) -> Tensor:
        """Room ``[B, columns]`` for ``like`` ``[B, *]``: the same whenever the same key and columns are asked for."""
        whole = (*key, columns)
        room = self._buffers.get(whole)
        if room is None or len(room) < len(like):
            room = self._buffers[whole] = like.new_empty(len(like), columns)
        return room[: len(like)]


class Tape:
    """Linear layers and activations, forward and then back by hand.

    Args:
        nets: one after the other.
        memory: to share; default: its own.
    """

    def __init__(self, *nets: MLP, memory: Memory | None = None) -> None:
        self.steps = [
            (weight, bias, net.activation if number < len(net.hidden) else None)
            for net in nets
            for number, (weight, bias) in enumerate(net.layers)
        ]
        self.memory = memory or Memory()
        self._rows = -1
        self._gradients: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in]`` -> ``[B, out]``; valid until the memory is used again, and not to be overwritten."""
        if x.shape[0] != self._rows:  # len() of a tensor is a call into Python
            self._prepare(x)
        self.memory.user = self
        self._inputs, self._derived_from = [], []
        for (weight, bias, activation), buffer in zip(self._forward, self._linear, strict=True):
            self._inputs.append(x)
            x = linear(x, weight, bias, buffer)
            self._derived_from.append(x)
            if activation is not None:
                x = activation.forward(x)
        return x

    def backward(self, gradient: Tensor, to_input: bool = False) -> Tensor:
        """From the loss's gradient with respect to the last output ``[B, out]``, which may be overwritten, to that with
        respect to the parameters, put (not added) in their ``grad``, and to that with respect to the input ``[B, in]``,
        which is returned if asked for and valid until the memory is used again.

        Raises:
            RuntimeError: another tape has used the memory since this one went forward, or the parameters have no
                ``grad`` to be written to.
        """
        self._require_memory()
        if self._gradients is None:
            self._gradients = [_gradients(weight, bias) for weight, bias, _ in self.steps]
        for number in range(len(self.steps) - 1, -1, -1):
            activation = self.steps[number][2]
            if activation is not None:
                activation.backward(gradient, self._derived_from[number])
            weight_gradient, bias_gradient = self._gradients[number]
            _outer(gradient, self._inputs[number], weight_gradient)
            torch.sum(gradient, 0, out=bias_gradient)
            if number or to_input:
                gradient = product(gradient, self._weights[number], self._back[number])
        return gradient

    def to_input(self, gradient: Tensor, rows: Tensor | None = None) -> Tensor:
        """From the loss's gradient with respect to the last output ``[R, out]`` to that with respect to the input
        ``[R, in]`` alone, for the ``rows`` ``[R]`` of the batch (None: for all); valid until the memory is used again.

        Raises:
            RuntimeError: another tape has used the memory since this one went forward.
        """
        self._require_memory()
        for number in range(len(self.steps) - 1, -1, -1):
            activation, seen = self.steps[number][2], self._derived_from[number]
            if activation is not None:
                activation.backward(gradient, seen if rows is None else seen.index_select(0, rows))
            gradient = product(gradient, self._weights[number], self._back[number][: len(gradient)])
        return gradient

    def _require_memory(self) -> None:
        if self.memory.user is not self:
            raise RuntimeError("what this tape remembered is gone: another one went forward in the same memory")

    def _prepare(self, x: Tensor) -> None:
        """What would cost a call to look up in every step."""
        self._rows = len(x)
        take = self.memory.take
        self._linear = [take(x, "out", n, columns=len(bias)) for n, (_, bias, _) in enumerate(self.steps)]
        self._back = [take(x, "back", n, columns=weight.shape[1]) for n, (weight, _, _) in enumerate(self.steps)]
        self._weights = [weight.detach() for weight, _, _ in self.steps]
        self._forward = [(weight.detach(), bias.detach(), activation) for weight, bias, activation in self.steps]


def _outer(gradient: Tensor, x: Tensor, out: Tensor) -> None:
    """``out = gradient^T x``: of a narrow input the other way round, which takes half as long."""
    if x.shape[1] <= _NARROW < len(x):
        out.copy_(torch.mm(x.t(), gradient).t())
        return
    found = product(gradient.t(), x, out)
    if found is not out:
        out.copy_(found)


def _gradients(weight: nn.Parameter, bias: nn.Parameter) -> tuple[Tensor, Tensor]:
    if weight.grad is None or bias.grad is None:
        raise RuntimeError("a tape writes to parameter.grad, which is missing: build the Minimiser first")
    return weight.grad, bias.grad


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


def backprop(*nets: nn.Module, memory: Memory | None = None) -> Tape | Graph:
    """The fastest way through ``nets``, one after the other."""
    plain = [net for net in nets if isinstance(net, MLP)]
    return Tape(*plain, memory=memory) if len(plain) == len(nets) else Graph(*nets)
