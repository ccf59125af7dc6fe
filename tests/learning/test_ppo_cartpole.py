"""PPO's defaults solve CartPole-v1 within 100k transitions, on every seed (rl-zoo3's anchor: 500)."""

import pytest

from rlbridge.learn import train


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_defaults_solve_cartpole(seed, tmp_path):
    settings = {
        "algorithm": {"total_steps": 100_000},
        "evaluation": {"every": 0},
        "run": {"dir": str(tmp_path), "seed": seed, "tensorboard": False},
    }
    assert train(settings, progress=False).evaluate(episodes=20).return_mean >= 475
