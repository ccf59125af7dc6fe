"""What a user's arguments become on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlbridge.v1 import env_pb2
from rlbridge.wire import BlockCodec, encode_value
from rlbridge.wire.errors import InvalidAction, WireError


def packed_action(codec: BlockCodec, action: Any, num_envs: int = 0) -> list[bytes]:
    """An action, or a batch of ``num_envs``, as blocks.

    Raises:
        InvalidAction: its structure, shape or dtype does not fit the action space. (Values are the server's to check.)
    """
    try:
        return codec.pack_batch(action, num_envs) if num_envs else codec.pack(action)
    except WireError as error:
        where = f"{num_envs} actions of" if num_envs else "an action of"
        raise InvalidAction(
            f"action: {error.args[0]}. The environment takes {where} {codec.space}; nothing was stepped.",
            **error.details,
        ) from error


def reset_request(
    seed: int | Sequence[int | None] | None, options: dict[str, Any] | None, num_envs: int = 0
) -> env_pb2.ResetRequest:
    """The request for ``reset(seed=..., options=...)`` of an environment or a batch.

    Raises:
        WireError: options that cannot travel.
        ValueError, TypeError: seeds or a reset_mask that Gymnasium would not take either.
    """
    request = env_pb2.ResetRequest()
    if seed is not None and isinstance(seed, (int, np.integer)):
        request.seed = int(seed)
    elif seed is not None:
        if len(seed) != num_envs:
            raise ValueError(f"{len(seed)} seeds for {num_envs} environments")
        for row_seed in seed:
            row = request.row_seeds.add()
            if row_seed is not None:
                row.seed = int(row_seed)
    if options is not None:
        options = dict(options)
        mask = options.pop("reset_mask", None)
        if mask is not None:
            request.reset_mask = _mask_bytes(mask, num_envs)
        request.options.CopyFrom(encode_value(options))
    return request


def _mask_bytes(mask: Any, num_envs: int) -> bytes:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask'] must be a numpy array of {num_envs} bools with at least one True, got {mask!r}"
        )
    return mask.tobytes()
