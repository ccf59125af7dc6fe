"""Generalised advantages, against the definition written out."""

import numpy as np
import pytest

from rlbridge.learn.rollout import gae


def by_definition(reward, value, next_value, terminated, truncated, valid, gamma, lam):
    """Equation 16 of Schulman et al. (2016), one transition at a time: sum of (gamma lam)^k delta_{t+k}."""
    steps, n = reward.shape
    advantage = np.zeros((steps, n))
    for i in range(n):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                if k > t and not valid[k, i]:
                    break
                bootstrap = 0.0 if terminated[k, i] else gamma * next_value[k, i]
                advantage[t, i] += weight * (reward[k, i] + bootstrap - value[k, i])
                if terminated[k, i] or truncated[k, i]:
                    break
                weight *= gamma * lam
    return advantage


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_gae_is_its_definition(seed, lam):
    rng = np.random.default_rng(seed)
    shape = (23, 4)
    reward, value, next_value = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    terminated, truncated = rng.random(shape) < 0.1, rng.random(shape) < 0.1
    valid = rng.random(shape) < 0.9
    args = (reward, value, next_value, terminated, truncated, valid, 0.97, lam)
    wanted = by_definition(*args)
    assert gae(*args)[valid] == pytest.approx(wanted[valid], abs=1e-4)


def test_truncated_bootstraps_and_terminated_does_not():
    one = np.ones((1, 2), dtype=np.float32)
    terminated, truncated = np.array([[True, False]]), np.array([[False, True]])
    advantage = gae(one, 0 * one, 10 * one, terminated, truncated, terminated | True, 0.9, 0.95)
    assert advantage[0] == pytest.approx([1.0, 1.0 + 0.9 * 10.0])


def test_no_trace_crosses_an_end_of_either_kind():
    reward = np.array([[0.0, 0.0], [100.0, 100.0]], dtype=np.float32)
    zero = np.zeros_like(reward)
    terminated = np.array([[True, False], [False, False]])
    truncated = np.array([[False, True], [False, False]])
    advantage = gae(reward, zero, zero, terminated, truncated, np.ones((2, 2), dtype=bool), 1.0, 1.0)
    assert advantage[0].tolist() == [0.0, 0.0]
