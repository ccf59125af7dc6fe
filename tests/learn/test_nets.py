"""Networks, their gradients, targets and Adam, each against a plain torch implementation."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from rlbridge.learn.backprop import Graph, Memory, Tape
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import MLP, Target, joined

PLAIN = {"tanh": torch.tanh, "relu": torch.relu, "elu": functional.elu, "silu": functional.silu}
every_activation = pytest.mark.parametrize("activation", PLAIN)


def generator():
    return torch.Generator().manual_seed(0)


def mlp(activation="tanh", outputs=3, inputs=5, hidden=(16, 8)):
    net = MLP(inputs, hidden, outputs, activation, 1.0, Initialiser(0))
    with torch.no_grad():  # zero would hide a wrong bias
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator()))
    return net


def plain(net, x, activation):
    """The same network in as few words as torch has for it."""
    for layer in range(len(net.layers)):
        x = functional.linear(x, getattr(net, f"weight{layer}"), getattr(net, f"bias{layer}"))
        if layer < len(net.hidden):
            x = PLAIN[activation](x)
    return x


def rows(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@every_activation
@pytest.mark.parametrize("outputs", [0, 1, 3])
def test_gradients_are_those_of_plain_torch(activation, outputs):
    net, x = mlp(activation, outputs), rows(7, 5).requires_grad_()
    about = [x, *net.parameters()]
    y, expected = net(x), plain(net, x, activation)
    torch.testing.assert_close(y, expected)
    ours, theirs = (torch.autograd.grad((out * rows(*out.shape)).sum(), about) for out in (y, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert torch.equal(x, rows(7, 5))


@every_activation
@pytest.mark.parametrize("outputs", [0, 3])
def test_back_by_hand_is_back_by_autograd(activation, outputs):
    trunk, head = mlp(activation, 0), mlp(activation, outputs, 8, (6,))
    minimiser = Minimiser([*trunk.parameters(), *head.parameters()], 0.1, None)
    tape, graph = Tape(trunk, head), Graph(trunk, head)
    for size in (7, 7, 4):  # the same buffers twice, then others
        x = rows(size, 5).requires_grad_()
        expected = plain(head, plain(trunk, x, activation), activation)
        gradient = rows(*expected.shape)
        wanted = torch.autograd.grad(expected, [x, *minimiser.parameters], gradient)
        for way in (tape, graph):
            torch.testing.assert_close(way.forward(x.detach()), expected.detach())
            back = way.backward(gradient.clone(), to_input=way is tape)
            if way is tape:
                torch.testing.assert_close(back, wanted[0])
            torch.testing.assert_close(minimiser.gradient, torch.cat([g.flatten() for g in wanted[1:]]))
            minimiser.gradient.fill_(float("nan"))


def test_a_tape_needs_a_place_for_its_gradients():
    tape = Tape(mlp())
    with torch.no_grad():
        output = tape.forward(rows(7, 5))
        with pytest.raises(RuntimeError, match="build the Minimiser first"):
            tape.backward(torch.ones_like(output))


@every_activation
def test_the_way_to_the_input_leaves_parameters_alone(activation):
    net = mlp(activation)
    minimiser, x = Minimiser(net.parameters(), 0.1, None), rows(7, 5).requires_grad_()
    (wanted,) = torch.autograd.grad(plain(net, x, activation).sum(), x)
    tape = Tape(net)
    with torch.no_grad():
        output = tape.forward(x.detach())
        torch.testing.assert_close(tape.to_input(torch.ones_like(output)), wanted)
        some = torch.tensor([1, 4, 5])
        torch.testing.assert_close(tape.to_input(torch.ones_like(output)[some], some), wanted[some])
    assert not minimiser.gradient.any()


def test_tapes_that_share_memory_refuse_to_mix_what_they_remember():
    memory = Memory()
    nets = mlp(), mlp(hidden=(16, 8))
    minimisers = [Minimiser(net.parameters(), 0.1, None) for net in nets]
    first, second = (Tape(net, memory=memory) for net in nets)
    with torch.no_grad():
        for tape, minimiser, size in ((first, minimisers[0], 7), (second, minimisers[1], 9), (first, minimisers[0], 4)):
            tape.backward(torch.ones_like(tape.forward(rows(size, 5))))
            found = minimiser.gradient.clone()
            alone = Tape(nets[tape is second])
            alone.backward(torch.ones_like(alone.forward(rows(size, 5))))
            assert torch.equal(minimiser.gradient, found)
        output = first.forward(rows(7, 5))
        second.forward(rows(7, 5))
        with pytest.raises(RuntimeError, match="another one went forward in the same memory"):
            first.backward(torch.ones_like(output))


@pytest.mark.parametrize("norm", [None, 0.5])
def test_minimiser_is_adam(norm):
    net = mlp()
    theirs = copy.deepcopy(net)
    minimiser = Minimiser(net.parameters(), 0.01, norm)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-8)
    for step in range(20):
        if step == 10:
            minimiser.learning_rate = adam.param_groups[0]["lr"] = 0.003
        length = minimiser.step((net(rows(9, 5)) - 5.0).square().sum())
        adam.zero_grad()
        (theirs(rows(9, 5)) - 5.0).square().sum().backward()
        if norm is not None:
            torch.testing.assert_close(length, nn.utils.clip_grad_norm_(theirs.parameters(), norm))
        adam.step()
    for mine, other in zip(net.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_a_minimiser_goes_on_where_its_state_was_taken():
    nets = [mlp(), mlp()]
    first, second = (Minimiser(net.parameters(), 0.01, 0.5) for net in nets)
    for _ in range(3):
        first.step(nets[0](rows(9, 5)).square().sum())
    nets[1].load_state_dict(nets[0].state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for net, minimiser in zip(nets, (first, second), strict=True):
        minimiser.step(net(rows(9, 5)).square().sum())
    assert torch.equal(first.flat, second.flat)


class Scaled(nn.Module):
    """A network with a buffer, as a policy that normalises has."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.register_buffer("scale", torch.ones(5))

    def forward(self, x):
        return self.net(x * self.scale)


@pytest.mark.parametrize("minimised", ["before", "after", "never"])
def test_a_target_follows_by_the_formula(minimised):
    source = Scaled()
    if minimised == "before":
        Minimiser(source.parameters(), 0.1, None)
    target = Target(source)
    if minimised == "after":
        target.track(0.5)
        Minimiser(source.parameters(), 0.1, None)
    assert (joined(list(source.parameters())) is not None) == (minimised != "never")
    before = copy.deepcopy(target.net)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1.0)
        source.scale.mul_(3.0)
    target.track(0.25)
    for ours, was, theirs in zip(target.net.parameters(), before.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(ours, 0.75 * was + 0.25 * theirs.detach())
        assert not ours.requires_grad
    assert torch.equal(target.net.scale, source.scale)
    target.copy()
    state, other = target.net.state_dict(), source.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in other)
    with torch.no_grad():
        source.net.weight0.zero_()
    assert target.net.net.weight0.abs().sum() > 0


def test_what_is_loaded_into_a_target_is_tracked_from():
    source = mlp()
    target = Target(source)
    target.net.load_state_dict({name: torch.zeros_like(value) for name, value in source.state_dict().items()})
    target.track(0.5)
    torch.testing.assert_close(target.net.weight0, 0.5 * source.weight0.detach())


def test_fading_moments_end_at_zero_and_numbers_elsewhere_do_not():
    """Subnormal moments would cost Adam six times its time; outside of it nothing is flushed."""
    weight = torch.nn.Parameter(torch.ones(4))
    minimiser = Minimiser([weight], 1e-3, None)
    minimiser.gradient.copy_(torch.tensor([1.0, 1e-3, 1e-20, 0.0]))
    minimiser.descend()
    for _ in range(1_500):
        minimiser.gradient.zero_()
        minimiser.descend()
    smallest = torch.finfo(torch.float32).tiny
    for moment in (minimiser.first_moment, minimiser.second_moment):
        assert not ((moment != 0.0) & (moment.abs() < smallest)).any()
    assert (torch.tensor([smallest]) * 0.5).item() > 0.0
