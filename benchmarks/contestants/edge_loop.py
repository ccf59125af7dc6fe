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
    asked = 0

    def run(steps: int) -> None:
        until = asked + steps

        def ask() -> None:
            nonlocal asked
            if asked < until:
                rollout = Rollout(min(HORIZON, until - asked), "categorical", policy, 0, asked)
                envs.send_rollout(rollout)
                asked += rollout.steps

        ask()
        ask()  # two are under way, always: neither side waits for the way between them
        taken = 0
        while taken < steps:
            result = envs.recv_rollout()
            taken += len(result)
            ask()
            for t in range(len(result)):
                result.step(t)

    return run


if __name__ == "__main__":
    take_turns(loop(sys.argv[1]))
