"""However often the connection breaks, every step happens once and its answer arrives."""

from __future__ import annotations

import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.client.connect import describe
from tests.chaos.conftest import books
from tests.trajectory import batch_hash

ROWS = 4


def trajectory(url: str, steps: int, **options) -> tuple[str, int, np.ndarray]:
    """The hash of a run of ``steps``, how often it had to connect again, and what each row's environment counted."""
    envs = rlbridge.make_vec(url, ROWS, autoreset_mode="SameStep", **options)
    try:
        found = batch_hash(envs, steps, seed=11)
        *_, infos = envs.step(np.zeros(ROWS, np.int64))
        return found, envs._session.reconnects, infos["total"]
    finally:
        envs.close()


@pytest.mark.parametrize(
    ("steps", "cuts"), [(800, 12), pytest.param(50_000, 1_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_cut_connections_lose_no_step_and_double_none(served, proxied, steps, cuts):
    url = served()
    undisturbed, _, totals = trajectory(url, steps)
    np.testing.assert_array_equal(totals, [steps + 1] * ROWS)
    before = books(url)

    proxy = proxied(url, seed=1, every=(1, 24_000), most=cuts)
    found, reconnects, totals = trajectory(proxy.url, steps)
    counters, after = proxy.counters(), books(url)
    print(f"{steps} steps, {counters}, {reconnects} reconnects, totals {totals}, books {after}")

    assert counters["cuts"] == cuts
    assert found == undisturbed
    np.testing.assert_array_equal(totals, [steps + 1] * ROWS)
    assert after["stepped"] - before["stepped"] == (steps + 1) * ROWS
    assert after["open"] == 1


def test_a_bad_link_loses_no_step_and_doubles_none(served, proxied):
    url, steps = served(), 300
    undisturbed, _, _ = trajectory(url, steps)
    kinds = ("rst", "fin", "delay", "trickle", "swallow")
    proxy = proxied(url, seed=2, every=(1, 8_000), kinds=kinds, most=12)
    found, _, totals = trajectory(proxy.url, steps, timeout=0.7)
    assert proxy.counters()["faults"] == 12
    assert found == undisturbed
    np.testing.assert_array_equal(totals, [steps + 1] * ROWS)
    assert books(url)["stepped"] == 2 * (steps + 1) * ROWS


def test_a_single_environment_is_stepped_once_too(served, proxied):
    url = served()
    proxy = proxied(url, seed=3, every=(1, 4_000), most=12)
    env = rlbridge.make(proxy.url)
    env.reset(seed=0)
    for i in range(1, 301):
        *_, over, _, info = env.step(i % 3)
        assert info["total"] == i
        if over:
            env.reset()
    env.close()
    assert proxy.counters()["cuts"] == 12
    assert books(url)["stepped"] == 300


def test_an_answer_that_was_cut_is_never_taken_for_a_shorter_one(served, proxied):
    url = served()
    whole = describe(url)
    for after in range(60, 1_100, 130):
        proxy = proxied(url, every=(after, after), kinds=("fin",), most=1)
        try:
            assert describe(proxy.url) == whole
        except (errors.Unavailable, errors.ProtocolMismatch):
            assert proxy.counters()["cuts"] == 1
