"""``make`` and ``make_vec``: one door for environments in this process and on other machines."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlbridge.client.env import RemoteEnv
from rlbridge.client.target import is_remote
from rlbridge.client.vector_env import RemoteVectorEnv
from rlbridge.entry_point import resolve_factory


def make(target: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """A single environment.

    Args:
        target: ``grpc://host:port[/environment]``, ``unix:///path``, ``shm:///path``, a Gymnasium id,
            ``module:factory`` or ``file.py:factory``.
        kwargs: those of ``RemoteEnv`` for a remote target, the factory's own for a local one.

    Raises:
        BadTarget, UnknownFactory: the string leads nowhere.
        rlbridge.wire.errors.BridgeError: the server cannot be reached, or refuses.

    Example:
        >>> env = make("CartPole-v1")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (4,)
    """
    if is_remote(target):
        return RemoteEnv(target, **kwargs)
    return resolve_factory(target)(**kwargs)  # type: ignore[no-any-return]


def make_vec(
    target: str,
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode | str | None = AutoresetMode.NEXT_STEP,
    copy: bool = True,
    **kwargs: Any,
) -> VectorEnv[Any, Any, Any]:
    """A batch of environments; the same numbers for the same seed, wherever they run.

    Args:
        target: as for ``make``.
        num_envs: at least 1.
        autoreset_mode: one of Gymnasium's three; None for whatever the environment does by itself.
        copy: give writable arrays. False saves a copy: read-only views of a message, or arrays that the next step
            overwrites.
        kwargs: those of ``RemoteVectorEnv`` for a remote target, the factory's own for a local one.

    Raises:
        BadTarget, UnknownFactory: the string leads nowhere.
        rlbridge.wire.errors.BridgeError: the server cannot be reached, or refuses.
    """
    if is_remote(target):
        return RemoteVectorEnv(target, num_envs, autoreset_mode=autoreset_mode, copy=copy, **kwargs)
    factory = resolve_factory(target)
    return SyncVectorEnv(
        [lambda: factory(**kwargs) for _ in range(num_envs)],
        autoreset_mode=AutoresetMode(autoreset_mode or AutoresetMode.NEXT_STEP),
        copy=copy,
    )
