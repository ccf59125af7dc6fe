"""From settings and spaces to a learner."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces

from rlbridge.config import ConfigError, DDPGConfig, DQNConfig, PPOConfig, RunConfig, SACConfig, TD3Config
from rlbridge.learn.ddpg import DDPG
from rlbridge.learn.dqn import DQN
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.policy import Policy
from rlbridge.learn.ppo import PPO
from rlbridge.learn.sac import SAC
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.td3 import TD3

Learner = PPO | DQN | DDPG | TD3 | SAC


def make_learner(
    config: RunConfig,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    seeds: Seeds,
) -> Learner:
    """The learner of a run, with its policy, on the run's device.

    Raises:
        UnsupportedSpace: the algorithm cannot use one of the spaces of a single environment.
        ConfigError: there is no such device here.
    """
    device = torch.device("cpu" if config.run.device == "auto" else config.run.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"run.device = {config.run.device}, but torch {torch.__version__} finds no CUDA here; use cpu"
        )
    algorithm = config.algorithm
    initialiser = Initialiser(seeds.weights, config.network.initialisation)
    policy = Policy(algorithm, config.network, observation_space, action_space, initialiser, seeds.actions).to(device)
    network = policy.network
    match algorithm:
        case PPOConfig():
            return PPO(algorithm, network, policy, initialiser, config.env.num_envs, seeds.minibatches)
        case DQNConfig():
            return DQN(algorithm, policy)
        case DDPGConfig():
            return DDPG(algorithm, network, policy, initialiser)
        case TD3Config():
            return TD3(algorithm, network, policy, initialiser, seeds.minibatches)
        case SACConfig():
            return SAC(algorithm, network, policy, initialiser, seeds.minibatches)
