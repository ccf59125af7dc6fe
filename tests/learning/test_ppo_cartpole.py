"""PPO's defaults solve CartPole-v1 within 100k transitions, on every seed, here and over gRPC with the same weights."""

from __future__ import annotations

import pytest

from rlbridge.learn import Run, train, weights_digest


def run(target: str, seed: int, folder) -> Run:
    settings = {
        "env": {"target": target},
        "algorithm": {"total_steps": 100_000},
        "evaluation": {"every": 0},
        "run": {"dir": str(folder), "seed": seed, "tensorboard": False},
    }
    return train(settings, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_defaults_solve_cartpole(seed, tmp_path, serve):
    local = run("CartPole-v1", seed, tmp_path)
    score = local.evaluate(episodes=20).return_mean
    remote = run(serve("CartPole-v1").urls[0], seed, tmp_path)
    print(f"seed {seed}: return {score} over 20 episodes, weights {weights_digest(local.policy)[:16]}")
    assert score >= 475
    assert weights_digest(remote.policy) == weights_digest(local.policy)
