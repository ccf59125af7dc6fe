"""Environments in processes of their own."""

import time

import gymnasium
import numpy as np
import pytest

import rlbridge
from rlbridge.learn import weights_digest


class Hangs(gymnasium.Env):
    """Answers until its third step, and then no more."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        while self.steps == 3:
            time.sleep(1.0)
        return np.zeros(2, np.float32), 0.0, False, False, {}


def settings(folder, **env):
    return {
        "env": {"target": "CartPole-v1", "num_envs": 2, **env},
        "algorithm": {"total_steps": 600, "rollout_steps": 64},
        "evaluation": {"every": 300, "episodes": 2},
        "run": {"dir": str(folder), "tensorboard": False},
    }


def test_processes_make_no_difference_to_the_weights(tmp_path):
    here, apart = (
        rlbridge.train(settings(tmp_path, processes=processes), progress=False) for processes in (False, True)
    )
    assert weights_digest(here.policy) == weights_digest(apart.policy)


def test_a_process_that_hangs_ends_the_run_at_its_deadline(tmp_path):
    hanging = settings(tmp_path, target=f"{__file__}:Hangs", processes=True, timeout=1.0)
    with pytest.raises(TimeoutError, match=r"within 1 s \(env\.timeout\)"):
        rlbridge.train(hanging, progress=False)
