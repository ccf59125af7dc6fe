"""Policies of every kind, and their files, for the tests of what is exported and of what plays it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rlbridge.config import load_config
from rlbridge.learn import Policy
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.onnx_graph import kind_of, policy_model
from rlbridge.play import Description

NO_TORCH = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""
"""Put before a program, this makes sure that it gets along without torch and onnx."""

OPEN = spaces.Box(np.array([-4, -np.inf, 0], np.float32), np.array([4, np.inf, 3e38], np.float32))
RANGES = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


def picture(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


KINDS: dict[str, tuple[str, Any, Any, dict[str, Any], dict[str, Any]]] = {
    "categorical": ("ppo", OPEN, spaces.Discrete(3, start=5), {}, {}),
    "categorical, many": ("ppo", OPEN, spaces.MultiDiscrete([2, 4], start=[1, 0]), {"activation": "silu"}, {}),
    "categorical, raw": ("ppo", OPEN, spaces.MultiBinary(2), {}, {"normalise_observations": False}),
    "gaussian": ("ppo", OPEN, RANGES, {"activation": "elu"}, {}),
    "greedy": ("dqn", OPEN, spaces.Discrete(4, start=-2), {}, {}),
    "greedy, dueling": ("dqn", OPEN, spaces.Discrete(4), {}, {"dueling": True}),
    "squashed_gaussian": ("sac", OPEN, RANGES, {}, {}),
    "deterministic": ("td3", OPEN, RANGES, {"activation": "tanh"}, {}),
    "deterministic, parts": ("ddpg", spaces.Dict({"a": spaces.Discrete(3), "b": RANGES}), RANGES, {}, {}),
    "categorical, grey picture": ("ppo", picture(12, 14), spaces.Discrete(2), {}, {}),
    "greedy, picture": ("dqn", picture(40, 38, 3), spaces.Discrete(3), {}, {"dueling": True}),
    "squashed_gaussian, picture": ("sac", picture(2, 40, 38), RANGES, {"hidden": [16]}, {}),
}
"""Algorithm, observation space, action space, network, more settings; by a name that begins with the kind."""


def policy_of(name: str, seed: int = 0) -> Policy:
    """A policy whose every weight and statistic is something, as after training."""
    algorithm, observation_space, action_space, network, settings = KINDS[name]
    config = load_config(
        {
            "algorithm": {"name": algorithm, "normalise_observations": True, **settings},
            "network": {"hidden": [24, 16], **network},
        }
    )
    initialiser = Initialiser(seed)
    policy = Policy(config.algorithm, config.network, observation_space, action_space, initialiser, seed)
    generator = initialiser.generator
    with torch.no_grad():
        for parameter in policy.parameters():
            spread = float(parameter.abs().mean().clamp(min=0.2))
            parameter.add_(0.5 * spread * torch.randn(parameter.shape, generator=generator))
    if policy.normaliser is not None:
        policy.normaliser.update(torch.randn(500, policy.encoder.size, generator=generator) * 3 + 1)
    return policy


def described(policy: Policy, model: bytes, **more: Any) -> Description:
    return Description(
        kind_of(policy),
        policy.encoder.space,
        policy.actions.space,
        hashlib.sha256(model).hexdigest(),
        algorithm="any",
        steps=0,
        **more,
    )


def write(folder: Path, policy: Policy, **more: Any) -> Path:
    """``policy.onnx`` and ``policy.json`` in ``folder``; returns the former."""
    model = policy_model(policy)
    (folder / "policy.onnx").write_bytes(model)
    (folder / "policy.json").write_text(described(policy, model, **more).to_json())
    return folder / "policy.onnx"


def rows_for(policy: Policy, count: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Encoded observations, some of them far from everything."""
    generator, encoder = np.random.default_rng(seed), policy.encoder
    if encoder.image:
        return generator.integers(0, 256, (count, *encoder.shape), np.uint8)
    return (generator.standard_normal((count, encoder.size)) * generator.choice([0.1, 3, 50], (count, 1))).astype("f4")
