"""A remote environment that is a ``gymnasium.Env``."""

from __future__ import annotations

import struct
from typing import Any

import gymnasium

from rlbridge.client.connect import (
    DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_RETRY_FOR,
    DEFAULT_TIMEOUT,
    GivenCredentials,
    open_session,
)
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value


class RemoteEnv(gymnasium.Env[Any, Any]):
    """One environment on a server. It behaves as the environment itself would, here.

    Args:
        target: ``grpc://host:port[/environment]``, ``unix:///path`` or ``shm:///path``.
        render_mode: what the remote environment should render; frames are fetched when ``render`` is called.
        timeout: seconds allowed for one attempt at a call.
        retry_for: seconds during which a call whose answer does not come is attempted again, over new connections,
            with the environment stepped once all the same; 0: not at all.
        max_message_bytes: the largest message this side takes.
        credentials: token and TLS files, or a mapping with the fields of ``Credentials``; the rest comes from the
            environment variables named there.
        copy: give writable arrays; False saves a copy and gives read-only views.
        resume: the ``ticket`` of another process, to take its environment over where it is.

    Attributes:
        ticket: what another process needs to take this environment over, should this one die. A secret.
        last_step: with ``resume``, what the last ``reset`` or ``step`` of the former holder returned (or None).

    Raises (from every method):
        rlbridge.wire.errors.BridgeError: a subclass for each situation, see there.

    Example:
        >>> from rlbridge.server import serve
        >>> with serve("CartPole-v1", bind="grpc://127.0.0.1:0") as server:
        ...     env = RemoteEnv(server.urls[0])
        ...     observation, info = env.reset(seed=0)
        ...     observation, reward, terminated, truncated, info = env.step(1)
        ...     env.close()
        >>> reward
        1.0
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "rgb_array_list", "ansi"]}

    def __init__(
        self,
        target: str,
        *,
        render_mode: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry_for: float = DEFAULT_RETRY_FOR,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        credentials: GivenCredentials = None,
        copy: bool = True,
        resume: str | None = None,
    ) -> None:
        self._session = open_session(
            target,
            render_mode=render_mode,
            timeout=timeout,
            retry_for=retry_for,
            max_message_bytes=max_message_bytes,
            credentials=credentials,
            resume=resume,
        )
        if self._session.num_envs:
            self._session.close()
            raise ValueError(f"the ticket is for a batch of {self._session.num_envs}: resume it with make_vec")
        self._copy = copy
        self.render_mode = self._session.render_mode
        self.metadata = self._session.metadata
        self.observation_space = self._session.observations.space
        self.action_space = self._session.actions.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._reset(self._session.reset(reset_request(seed, options)))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        session = self._session
        return self._step(session.step(packed_action(session.actions, action)))

    def render(self) -> Any:
        return self._session.render()

    def close(self) -> None:
        self._session.close()

    @property
    def ticket(self) -> str:
        """See the class."""
        return self._session.ticket

    @property
    def last_step(self) -> tuple[Any, ...] | None:
        """See the class."""
        outcome = self._session.last_outcome
        kind = outcome.WhichOneof("response") if outcome is not None else None
        if outcome is None or kind not in ("step", "reset"):
            return None
        return self._step(outcome.step) if kind == "step" else self._reset(outcome.reset)

    def _step(self, response: env_pb2.StepResponse) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return (
            self._observation(response.observation),
            struct.unpack("<d", response.reward)[0],
            response.terminated != b"\x00",
            response.truncated != b"\x00",
            self._info(response),
        )

    def _reset(self, response: env_pb2.ResetResponse) -> tuple[Any, dict[str, Any]]:
        return self._observation(response.observation), self._info(response)

    def _observation(self, blocks: Any) -> Any:
        return self._session.observations.unpack(blocks, copy=self._copy)

    def _info(self, response: env_pb2.StepResponse | env_pb2.ResetResponse) -> dict[str, Any]:
        return decode_value(response.info, copy=self._copy) if response.HasField("info") else {}

    def __repr__(self) -> str:
        return f"<RemoteEnv {self._session.where}>"
