"""A Ray actor that holds a CartPole: every step is a remote call, and its result is fetched.

peer_ray.py one             a single CartPole-v1
peer_ray.py native N        gymnasium's own vectorised CartPole
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from turns import needed, take_turns

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a benchmark calls nobody
ray = needed("ray", "ray")


class Holder:
    """The environment, in the actor's process; a single one is reset at once when its episode ends."""

    def __init__(self, n: int) -> None:
        self._single = not n
        if n:
            self._env: Any = gymnasium.make_vec("CartPole-v1", n, vectorization_mode="vector_entry_point")
        else:
            self._env = gymnasium.make("CartPole-v1")
        self._env.reset(seed=0)

    def step(self, action: Any) -> Any:
        step = self._env.step(action)
        if self._single and (step[2] or step[3]):
            self._env.reset()
        return step


def client(n: int) -> Callable[[int], None]:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    holder = ray.remote(num_cpus=1)(Holder).remote(n)
    rng = np.random.default_rng(0)
    choices = [rng.integers(0, 2, n) if n else int(rng.integers(0, 2)) for _ in range(16)]
    ray.get(holder.step.remote(choices[0]))

    def run(steps: int) -> None:
        for i in range(steps):
            ray.get(holder.step.remote(choices[i % 16]))

    return run


if __name__ == "__main__":
    take_turns(client(int(sys.argv[2]) if sys.argv[1] == "native" else 0))
