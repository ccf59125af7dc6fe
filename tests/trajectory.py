"""A trajectory's hash: two runs that agree in every bit of every step have the same one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def digest(value: Any, into: Any = None) -> Any:
    """Feed a value, nested or not, into a hash; arrays by dtype, shape and bytes, numbers as float64."""
    into = into or hashlib.sha256()
    if isinstance(value, dict):
        for key in sorted(value):
            into.update(repr(key).encode())
            digest(value[key], into)
    elif isinstance(value, (list, tuple)):
        into.update(f"({len(value)})".encode())
        for item in value:
            digest(item, into)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        digest(list(value), into)
    elif isinstance(value, np.ndarray):
        into.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, (bool, int, float, np.generic)):
        into.update(np.float64(value).tobytes())
    else:
        into.update(repr(value).encode())
    return into


def single_hash(env: Any, steps: int, seed: int) -> str:
    """Random actions for ``steps``, resetting at each end."""
    into = hashlib.sha256()
    env.action_space.seed(seed)
    digest(env.reset(seed=seed), into)
    for _ in range(steps):
        step = env.step(env.action_space.sample())
        digest(step, into)
        if step[2] or step[3]:
            digest(env.reset(), into)
    return into.hexdigest()


def batch_hash(envs: Any, steps: int, seed: int, disabled: bool = False) -> str:
    """Random actions for ``steps`` of a batch; with autoreset disabled, ended rows are reset by mask."""
    into = hashlib.sha256()
    envs.action_space.seed(seed)
    digest(envs.reset(seed=seed), into)
    for _ in range(steps):
        step = envs.step(envs.action_space.sample())
        digest(step, into)
        ended = step[2] | step[3]
        if disabled and ended.any():
            digest(envs.reset(options={"reset_mask": ended}), into)
    return into.hexdigest()
