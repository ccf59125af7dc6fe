"""Products by the library that is the faster one on a processor: the same numbers, whichever that is."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch

from rlbridge.learn import products
from rlbridge.learn.backprop import Tape
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import MLP

AMD = {"avx512_f": True, "cpu_name": "AMD EPYC"}


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def library(monkeypatch, processor: dict[str, object]):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    return products._linear_of_onednn()


def test_onednn_is_taken_where_mkl_does_not_use_the_processor(monkeypatch):
    if torch.backends.mkldnn.is_available():
        assert library(monkeypatch, AMD) is not None
    assert library(monkeypatch, {"avx512_f": True, "cpu_name": "Intel(R) Xeon(R) Processor @ 2.80GHz"}) is None
    assert library(monkeypatch, {"avx512_f": False, "cpu_name": "AMD EPYC"}) is None
    assert library(monkeypatch, {}) is None


def test_another_torch_goes_the_public_way(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
    assert library(monkeypatch, AMD) is None


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("batch", [1, 256])
def test_networks_go_forward_and_back_alike_with_either(monkeypatch, batch):
    net = MLP(5, [256, 128], 3, "tanh", 1.0, Initialiser(0))
    Minimiser(net.parameters(), 1e-3, None)
    observation, slope = rows(batch, 5), rows(batch, 3)
    found = []
    for onednn in (library(monkeypatch, {}), library(monkeypatch, AMD)):
        seen = onednn and Mock(wraps=onednn)
        monkeypatch.setattr(products, "_onednn", seen)
        tape = Tape(net)
        with torch.no_grad():
            output = tape.forward(observation).clone()
            to_input = tape.backward(slope.clone(), to_input=True).clone()
            plain = net(observation)
        found.append([output, plain, to_input, *(parameter.grad.clone() for parameter in net.parameters())])
        assert onednn is None or seen.called == (batch == 256)
    for by_mkl, by_onednn in zip(*found, strict=True):
        torch.testing.assert_close(by_mkl, by_onednn, rtol=1e-4, atol=1e-4)


def test_what_onednn_cannot_multiply_it_is_not_given(monkeypatch):
    monkeypatch.setattr(products, "_onednn", lambda *given: pytest.fail("asked"))
    x, weight, bias = rows(256, 256), rows(256, 256), rows(512)[::2]
    torch.testing.assert_close(products.linear(x, weight, bias), torch.addmm(bias, x, weight.t()))
    double = torch.float64
    a, b = rows(256, 256).to(double), rows(256, 256).to(double)
    torch.testing.assert_close(products.product(a, b, torch.empty(256, 256, dtype=double)), a @ b)
    with torch.device("meta"):  # stands for any device that is no processor
        elsewhere = torch.empty(256, 256)
        assert products.product(elsewhere, elsewhere, torch.empty(256, 256)).shape == (256, 256)
