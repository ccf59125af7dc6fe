"""Environments used as anyone would use them, here or at a server.

envs.py one TARGET              a single CartPole-v1: its id, or a server's URL
envs.py async N                 gymnasium's AsyncVectorEnv
envs.py native N                gymnasium's own vectorised CartPole
envs.py batch TARGET N          gymnasium's SyncVectorEnv for an id, else a server's batch
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
from turns import take_turns

import rlbridge


def single(env: Any) -> Callable[[int], None]:
    env.reset(seed=0)

    def run(steps: int) -> None:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(i % 2)
            if terminated or truncated:
                env.reset()

    return run


def batch(envs: Any) -> Callable[[int], None]:
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(16)]

    def run(steps: int) -> None:
        for i in range(steps):
            envs.step(actions[i % 16])

    return run


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "one":
        take_turns(single(rlbridge.make(arguments[0])))
    elif kind == "batch":
        take_turns(batch(rlbridge.make_vec(arguments[0], int(arguments[1]))))
    elif kind == "async":
        make = [lambda: gymnasium.make("CartPole-v1")] * int(arguments[0])
        take_turns(batch(gymnasium.vector.AsyncVectorEnv(make)))
    elif kind == "native":
        take_turns(batch(gymnasium.make_vec("CartPole-v1", int(arguments[0]), vectorization_mode="vector_entry_point")))
