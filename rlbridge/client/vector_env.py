"""A batch of remote environments that is a ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlbridge.client.connect import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_TIMEOUT, open_session
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value

Step = tuple[Any, Any, Any, Any, dict[str, Any]]


class RemoteVectorEnv(VectorEnv[Any, Any, Any]):
    """``num_envs`` environments in one session on a server: one message a step, whatever their number.

    Beside ``step`` there are ``send`` and ``recv``, its two halves, with time for other work in between. A row whose
    sub-environment failed and was rebuilt comes back truncated; then ``infos["bridge_valid"]`` (bool ``[num_envs]``,
    present in that step only) is False for it, ``infos["bridge_error"]`` says why, and it should not be learned from.

    Args:
        target: ``grpc://host:port[/environment]`` or ``unix:///path``.
        num_envs: at least 1.
        autoreset_mode: None for the environment's default, which is NEXT_STEP unless a native batch does another.
        render_mode, timeout, max_message_bytes, copy: as for ``RemoteEnv``.
    """

    def __init__(
        self,
        target: str,
        num_envs: int,
        *,
        autoreset_mode: AutoresetMode | str | None = None,
        render_mode: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        copy: bool = True,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self._session = session = open_session(
            target,
            num_envs=num_envs,
            autoreset_mode=AutoresetMode(autoreset_mode) if autoreset_mode else None,
            render_mode=render_mode,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
        )
        self._copy = copy
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {**session.metadata, "autoreset_mode": session.autoreset_mode}
        self.single_observation_space = session.observations.space
        self.single_action_space = session.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        response = self._session.reset(reset_request(seed, options, self.num_envs))
        return self._batch(response.observation, self.num_envs), self._infos(response)

    def step(self, actions: Any) -> Step:
        self.send(actions)
        return self.recv()

    def send(self, actions: Any) -> None:
        """Start a step; ``recv`` gives its result.

        Raises:
            InvalidAction: a wrong structure, shape or dtype. Wrong values are found by the server: ``recv`` raises.
            RequestPending: the step before has not been received.
        """
        self._session.send_step(packed_action(self._session.actions, actions, self.num_envs))

    def recv(self) -> Step:
        """The result of the step that ``send`` started, as ``step`` returns it."""
        response = self._session.receive().step
        infos = self._infos(response)
        if response.final_rows:
            self._add_final(infos, response)
        if response.valid:
            infos["bridge_valid"] = np.frombuffer(response.valid, np.bool_).copy()
            infos["_bridge_valid"] = np.ones(self.num_envs, np.bool_)
        return (
            self._batch(response.observation, self.num_envs),
            self._column(response.reward, np.dtype("<f8")),
            self._column(response.terminated, np.dtype(np.bool_)),
            self._column(response.truncated, np.dtype(np.bool_)),
            infos,
        )

    def render(self) -> Any:
        return self._session.render()

    def close_extras(self, **kwargs: Any) -> None:
        self._session.close()

    def _batch(self, blocks: Any, n: int) -> Any:
        return self._session.observations.unpack_batch(blocks, n, copy=self._copy)

    def _column(self, data: bytes, dtype: np.dtype[Any]) -> Any:
        return np.frombuffer(bytearray(data) if self._copy else data, dtype)

    def _infos(self, response: env_pb2.StepResponse | env_pb2.ResetResponse) -> dict[str, Any]:
        return decode_value(response.info, copy=self._copy) if response.HasField("info") else {}

    def _add_final(self, infos: dict[str, Any], response: env_pb2.StepResponse) -> None:
        codec = self._session.observations
        rows = list(response.final_rows)
        final = np.full(self.num_envs, None, dtype=object)
        samples = codec.unstack(codec_blocks(response.final_observation, self._copy), len(rows))
        for row, sample in zip(rows, samples, strict=True):
            final[row] = sample
        mask = np.zeros(self.num_envs, np.bool_)
        mask[rows] = True
        infos["final_obs"], infos["_final_obs"] = final, mask


def codec_blocks(blocks: Any, copy: bool) -> list[Any]:
    """Blocks whose views can be written to, with ``copy``."""
    return [bytearray(block) for block in blocks] if copy else list(blocks)
