"""``make`` and ``make_vec``: one door for environments in this process and on other machines."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlbridge.entry_point import resolve_factory


def make(target: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Make a single environment from a target string (local names only, for the moment)."""
    return resolve_factory(target)(**kwargs)  # type: ignore[no-any-return]


def make_vec(
    target: str, num_envs: int, *, autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP, **kwargs: Any
) -> VectorEnv[Any, Any, Any]:
    """Make a batch of environments from a target string (local names only, for the moment)."""
    factory = resolve_factory(target)
    return SyncVectorEnv([lambda: factory(**kwargs) for _ in range(num_envs)], autoreset_mode=autoreset_mode)
