"""Policies at the environment through a bad network: every step happens once, and its answer arrives."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import rlbridge
from rlbridge.client import Rollout, RolloutPolicy
from tests.chaos.conftest import books
from tests.server.test_rollout_service import linear
from tests.trajectory import digest

ROWS, STEPS = 4, 16


def rolled_out(url: str, rollouts: int, under_way: int = 1) -> tuple[str, int, np.ndarray]:
    """The hash of all that came, how many steps that were, and what each row's environment counted."""
    into, received = hashlib.sha256(), 0
    envs = rlbridge.make_vec(url, ROWS, autoreset_mode="SameStep")

    def ask(number: int) -> None:
        if number < rollouts:
            # A new policy each time, as in training: its bytes are cut, too.
            model = linear(3, bias=float(number), inputs=4).SerializeToString()
            policy = RolloutPolicy("categorical", model, number)
            envs.send_rollout(Rollout(STEPS, "categorical", policy, 5, number * STEPS))

    try:
        envs.reset(seed=11)
        for number in range(under_way - 1):
            ask(number)
        for number in range(rollouts):
            ask(number + under_way - 1)
            result = envs.recv_rollout()
            assert result.policy_version == number
            for t in range(len(result)):
                step = result.step(t)
                digest((result.action[t], step), into)
                received += 1
        return into.hexdigest(), received, step[4]["total"]
    finally:
        envs.close()


@pytest.mark.parametrize("under_way", [1, 2, 4])
@pytest.mark.parametrize(
    ("rollouts", "cuts"), [(60, 12), pytest.param(1_500, 200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_cut_connections_lose_no_step_of_a_rollout_and_double_none(served, proxied, rollouts, cuts, under_way):
    url = served()
    undisturbed, steps, _ = rolled_out(url, rollouts)
    assert steps == rollouts * STEPS
    before = books(url)

    proxy = proxied(url, seed=4, every=(1, 24_000), most=cuts)
    found, received, totals = rolled_out(proxy.url, rollouts, under_way)
    counters, after = proxy.counters(), books(url)
    print(f"{rollouts} rollouts, {counters}, {received} steps received, totals {totals}, books {after}")

    assert counters["cuts"] == cuts
    assert found == undisturbed
    np.testing.assert_array_equal(totals, [received] * ROWS)
    assert after["stepped"] - before["stepped"] == received * ROWS == rollouts * STEPS * ROWS
    assert after["open"] == 1
