"""A remote environment that is a ``gymnasium.Env``."""

from __future__ import annotations

import struct
from typing import Any

import gymnasium

from rlbridge.client.connect import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_TIMEOUT, open_session
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.wire import decode_value


class RemoteEnv(gymnasium.Env[Any, Any]):
    """One environment on a server. It behaves as the environment itself would, here.

    Args:
        target: ``grpc://host:port[/environment]`` or ``unix:///path``.
        render_mode: what the remote environment should render; frames are fetched when ``render`` is called.
        timeout: seconds allowed for each call.
        max_message_bytes: the largest message this side takes.
        copy: give writable arrays; False saves a copy and gives read-only views.

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
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        copy: bool = True,
    ) -> None:
        self._session = open_session(
            target, render_mode=render_mode, timeout=timeout, max_message_bytes=max_message_bytes
        )
        self._copy = copy
        self.render_mode = render_mode
        self.metadata = self._session.metadata
        self.observation_space = self._session.observations.space
        self.action_space = self._session.actions.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        response = self._session.reset(reset_request(seed, options))
        return self._observation(response.observation), decode_value(
            response.info, copy=self._copy
        ) if response.HasField("info") else {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        session = self._session
        response = session.step(packed_action(session.actions, action))
        return (
            self._observation(response.observation),
            struct.unpack("<d", response.reward)[0],
            response.terminated != b"\x00",
            response.truncated != b"\x00",
            decode_value(response.info, copy=self._copy) if response.HasField("info") else {},
        )

    def render(self) -> Any:
        return self._session.render()

    def close(self) -> None:
        self._session.close()

    def _observation(self, blocks: Any) -> Any:
        return self._session.observations.unpack(blocks, copy=self._copy)

    def __repr__(self) -> str:
        return f"<RemoteEnv {self._session.where}>"
