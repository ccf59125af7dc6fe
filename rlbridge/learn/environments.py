"""The vector environments of a run: here, in processes, or on a server."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from rlbridge.client import Unsupported, make, make_vec
from rlbridge.config import RunConfig
from rlbridge.learn.split_envs import Envs, SplitEnvs, parts_of

_CLOSE_SECONDS = 5.0


def make_envs(config: RunConfig, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """``num_envs`` of the run's environments, SAME_STEP where they can (it wastes no step on a reset)."""
    target, options = config.env.target, config.env.client_options()
    if config.env.processes:
        # Not forked: a fork would take over locks that threads of this process hold.
        factories = [partial(make, target, **options)] * num_envs
        return AsyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP, context="spawn")
    try:
        return make_vec(target, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    except Unsupported:  # a server's native batch has one mode of its own
        return make_vec(target, num_envs, autoreset_mode=None, **options)


def make_training_envs(config: RunConfig) -> Envs:
    """All ``env.num_envs`` of them, in ``env.sessions`` equal parts."""
    n, sessions = config.env.num_envs, config.env.sessions
    if sessions == 1:
        return make_envs(config, n)
    parts: list[VectorEnv[Any, Any, Any]] = []
    try:
        for _ in range(sessions):
            parts.append(make_envs(config, n // sessions))
    except BaseException:
        close_envs(SplitEnvs(parts))
        raise
    return SplitEnvs(parts)


def close_envs(envs: Envs) -> None:
    """Close them; processes that do not end by themselves within 5 s are ended."""
    for part in parts_of(envs):
        _close(part)


def _close(envs: VectorEnv[Any, Any, Any]) -> None:
    if not isinstance(envs, AsyncVectorEnv):
        envs.close()
        return
    # Gymnasium's own time limit does not cover a process that hangs in a step.
    closing = threading.Thread(target=_close_quietly, args=(envs,), daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)
    if closing.is_alive():
        for process in envs.processes:
            process.kill()


def _close_quietly(envs: VectorEnv[Any, Any, Any]) -> None:
    with contextlib.suppress(EOFError, OSError):
        envs.close()
