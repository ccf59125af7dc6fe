"""What a collector does, 8 environments at a time: a torch policy of two layers of 64 acts, the environments step.

policy_loop.py TARGET           an id, or a server's URL: then every step is a message there and one back
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from turns import take_turns

import rlbridge

NUM_ENVS = 8


def loop(target: str) -> Callable[[int], None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)]
    network = torch.nn.Sequential(*layers)
    envs = rlbridge.make_vec(target, NUM_ENVS)
    observation, _ = envs.reset(seed=0)

    def run(steps: int) -> None:
        nonlocal observation
        with torch.no_grad():
            for _ in range(steps):
                probabilities = network(torch.from_numpy(observation)).softmax(-1)
                observation = envs.step(torch.multinomial(probabilities, 1)[:, 0].numpy())[0]

    return run


if __name__ == "__main__":
    take_turns(loop(sys.argv[1]))
