"""A policy that takes 5 ms of the processor, and batches of 256: one here, or two sessions in flight at a server.

    overlap.py local            policy, step, policy, step, ...
    overlap.py TARGET           the policy decides for one session while the other one's environments step

A step is one batch's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is loaded
import numpy as np
from turns import take_turns

import rlbridge

NUM_ENVS = 256
POLICY_SECONDS = 0.005
_WEIGHTS = np.random.default_rng(0).normal(0.0, 0.1, (64, 64))
_HIDDEN = np.ones((256, 64))


def policy(observation: np.ndarray) -> np.ndarray:
    """Actions [N], after 5 ms of this thread's processor time: work, not sleep."""
    end = time.thread_time() + POLICY_SECONDS
    while time.thread_time() < end:
        np.tanh(_HIDDEN @ _WEIGHTS)
    return (observation[:, 2] > 0).astype(np.int64)


def local() -> Callable[[int], None]:
    envs = rlbridge.make_vec("CartPole-v1", NUM_ENVS)
    observation, _ = envs.reset(seed=0)

    def run(steps: int) -> None:
        nonlocal observation
        for _ in range(steps):
            observation = envs.step(policy(observation))[0]

    return run


def in_flight(target: str) -> Callable[[int], None]:
    sessions = [rlbridge.make_vec(target, NUM_ENVS) for _ in range(2)]
    for seed, envs in enumerate(sessions):
        observation, _ = envs.reset(seed=seed)
        envs.send(policy(observation))

    def run(steps: int) -> None:
        for i in range(steps):
            envs = sessions[i % 2]
            envs.send(policy(envs.recv()[0]))

    return run


if __name__ == "__main__":
    take_turns(local() if sys.argv[1] == "local" else in_flight(sys.argv[1]))
