"""Same seed: the same trajectory and the same trained weights, whichever way the environment is reached."""

from __future__ import annotations

import pytest
from gymnasium.vector import AutoresetMode

import rlbridge
from rlbridge.learn import weights_digest
from tests.trajectory import batch_hash

BINDS = ["grpc://127.0.0.1:0", "unix://{folder}/env.sock", "http://127.0.0.1:0"]


def trajectory_and_weights(target: str, folder) -> tuple[str, str]:
    envs = rlbridge.make_vec(target, 4, autoreset_mode=AutoresetMode.SAME_STEP)
    trajectory = batch_hash(envs, 500, seed=0)
    envs.close()
    settings = {
        "env": {"target": target, "num_envs": 4},
        "algorithm": {"total_steps": 4_096},
        "evaluation": {"every": 2_048, "episodes": 2},
        "run": {"dir": str(folder), "seed": 0, "tensorboard": False},
    }
    return trajectory, weights_digest(rlbridge.train(settings, progress=False).policy)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> tuple[str, str]:
    return trajectory_and_weights("CartPole-v1", tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("bind", BINDS, ids=lambda bind: bind.split(":")[0])
def test_the_way_makes_no_difference(serve, bind, here, tmp_path):
    url = serve("CartPole-v1", bind=bind.format(folder=tmp_path)).urls[0]
    assert trajectory_and_weights(url, tmp_path) == here
