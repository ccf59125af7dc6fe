"""The loop of policy_loop.py with the policy at the server: 8 environments, rollouts of up to 128 steps a message.

edge_loop.py TARGET             a server's URL
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from policy_loop import NUM_ENVS
from turns import take_turns

import rlbridge
from rlbridge.client import Rollout, RolloutPolicy
from rlbridge.config import load_config
from rlbridge.learn import Policy
from rlbridge.learn.onnx_graph import kind_of, policy_model

HORIZON = 128


def loop(target: str) -> Callable[[int], None]:
    config = load_config({"algorithm": {"name": "ppo"}, "network": {"hidden": [64, 64], "activation": "tanh"}})
    envs = rlbridge.make_vec(target, NUM_ENVS)
    spaces = envs.single_observation_space, envs.single_action_space
    network = Policy(config.algorithm, config.network, *spaces, torch.Generator().manual_seed(0), 0)
    policy = RolloutPolicy(kind_of(network), policy_model(network))
    envs.reset(seed=0)
    clock = 0

    def run(steps: int) -> None:
        nonlocal clock
        until = clock + steps

        def ask() -> None:
            if clock < until:
                envs.send_rollout(Rollout(min(HORIZON, until - clock), "categorical", policy, 0, clock))

        ask()
        while clock < until:
            result = envs.recv_rollout()
            clock += len(result)
            ask()  # as in training: the server goes on while this side looks at what came
            for t in range(len(result)):
                result.step(t)

    return run


if __name__ == "__main__":
    take_turns(loop(sys.argv[1]))
