"""A sub-environment that fails is rebuilt; its row is truncated, not valid, and repeats its last good observation."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlbridge
from tests.envs import Fragile


@pytest.fixture
def batch(serve):
    opened = []

    def make(mode, length=5):
        from rlbridge.server.catalog import Offer

        url = serve([Offer("fragile", lambda: Fragile(length))]).urls[0]
        opened.append(rlbridge.make_vec(url, 3, autoreset_mode=mode))
        return opened[-1]

    yield make
    for envs in opened:
        envs.close()


def test_same_step_gives_the_last_good_observation_as_the_final_one(batch):
    envs = batch(AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    envs.step(np.array([0, 0, 0]))
    observations, rewards, terminated, truncated, infos = envs.step(np.array([0, 2, 1]))
    np.testing.assert_array_equal(infos["bridge_valid"], [True, False, True])
    np.testing.assert_array_equal(truncated, [False, True, False])
    assert not terminated.any()
    np.testing.assert_array_equal(rewards, [0, 0, 1])
    np.testing.assert_array_equal(infos["final_obs"][1], [0, 1])
    assert "boom at action 2" in infos["final_info"]["bridge_error"][1]
    np.testing.assert_array_equal(observations, [[0, 2], [0, 0], [0, 2]])  # row 1: a fresh environment's first episode
    *_, infos = envs.step(np.array([0, 0, 0]))
    assert "bridge_valid" not in infos


def test_next_step_repeats_the_last_good_observation_and_resets_in_the_next(batch):
    envs = batch(AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    envs.step(np.array([0, 0, 0]))
    observations, _, _, truncated, infos = envs.step(np.array([0, 2, 0]))
    np.testing.assert_array_equal(observations, [[0, 2], [0, 1], [0, 2]])
    np.testing.assert_array_equal(truncated, [False, True, False])
    assert infos["bridge_error"][1] == "ValueError: boom at action 2"
    np.testing.assert_array_equal(infos["_bridge_error"], [False, True, False])
    observations, _, _, truncated, _ = envs.step(np.array([0, 2, 0]))  # the action of a row that resets is ignored
    np.testing.assert_array_equal(observations, [[0, 3], [0, 0], [0, 3]])
    assert not truncated.any()


def test_disabled_waits_for_the_mask(batch):
    envs = batch(AutoresetMode.DISABLED)
    envs.reset(seed=0)
    _, _, _, truncated, _ = envs.step(np.array([2, 0, 0]))
    with pytest.raises(rlbridge.errors.NeedsReset, match=r"rows \[0\] are over"):
        envs.step(np.array([0, 0, 0]))
    observations, _ = envs.reset(options={"reset_mask": truncated})
    np.testing.assert_array_equal(observations, [[0, 0], [0, 1], [0, 1]])
    observations, *_ = envs.step(np.array([0, 0, 0]))
    np.testing.assert_array_equal(observations, [[0, 1], [0, 2], [0, 2]])


def test_a_rebuilt_environment_is_seeded_by_a_rule_so_that_a_run_can_be_repeated(batch):
    seeds = []
    for _ in range(2):
        envs = batch(AutoresetMode.SAME_STEP)
        envs.reset(seed=11)
        *_, infos = envs.step(np.array([0, 2, 0]))
        seeds.append(int(infos["seed"][1]))
    assert seeds[0] == seeds[1] >= 0
    assert seeds[0] != 12


def test_an_environment_that_always_fails_is_not_rebuilt_for_ever(batch):
    envs = batch(AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    for _ in range(4):  # three rows a step: twelve rebuilds, of the thirteen allowed
        envs.step(np.array([2, 2, 2]))
    with pytest.raises(rlbridge.errors.RemoteEnvError, match="failed more than 13 times within 60 s"):
        envs.step(np.array([2, 2, 2]))
    with pytest.raises(rlbridge.errors.NeedsReset):
        envs.step(np.array([0, 0, 0]))


def test_a_reset_that_fails_twice_is_the_sessions_failure(batch):
    envs = batch(AutoresetMode.SAME_STEP)
    with pytest.raises(rlbridge.errors.RemoteEnvError, match="asked to fail in reset"):
        envs.reset(options={"fail": True})
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (3, 2)
