"""The client's end of a session: numbers the requests, waits for the answers, raises their errors."""

from __future__ import annotations

import os
import secrets
import threading
from typing import Any

from gymnasium.vector import AutoresetMode

from rlbridge.client.link import Link
from rlbridge.v1 import env_pb2
from rlbridge.version import __version__
from rlbridge.wire import PROTOCOL_VERSION, BlockCodec, decode_space, decode_value
from rlbridge.wire.errors import BridgeError, ProtocolMismatch, SessionExpired, WireError, decode_error

_MODES = {
    AutoresetMode.NEXT_STEP: env_pb2.AUTORESET_MODE_NEXT_STEP,
    AutoresetMode.SAME_STEP: env_pb2.AUTORESET_MODE_SAME_STEP,
    AutoresetMode.DISABLED: env_pb2.AUTORESET_MODE_DISABLED,
}
_MODE_OF = {number: mode for mode, number in _MODES.items()}
# Refusals that leave the sequence number to the next request; see StepRequest in env.proto.
_NOT_USED_UP = frozenset({"INVALID_ACTION", "INVALID_REQUEST", "NEEDS_RESET", "UNSUPPORTED", "DEADLINE"})


class RequestPending(RuntimeError):
    """``send`` while an answer is still to be received, or ``recv`` without anything sent."""


class ClientSession:
    """One environment or batch on a server.

    Args:
        link: how to reach the server; closed with the session.
        where: the target, for messages.
        environment: a name on offer there; empty for the first.
        num_envs: 0 for a single environment.
        autoreset_mode: None for the environment's default.
        timeout: seconds allowed for each call.
        max_message_bytes: the largest message this side takes.

    Attributes:
        observations, actions: codecs of the two spaces of one environment.
        autoreset_mode: in effect; None for a single environment.
        metadata: the environment's own.

    Raises:
        BridgeError: what ``Link.call`` raises, and the server's refusals of Open.
    """

    def __init__(
        self,
        link: Link,
        where: str,
        *,
        environment: str = "",
        num_envs: int = 0,
        autoreset_mode: AutoresetMode | None = None,
        render_mode: str | None = None,
        timeout: float = 60.0,
        max_message_bytes: int = 0,
    ) -> None:
        self._link = link
        self.where = where
        self.num_envs = num_envs
        self.timeout = timeout
        self._closed = False
        self._pending = False
        self._introduce = True
        self._lock = threading.Lock()
        try:
            self.server = self._handshake()
            opened = link.call(
                env_pb2.OpenRequest(
                    protocol_version=PROTOCOL_VERSION,
                    environment=environment,
                    num_envs=num_envs,
                    autoreset_mode=_MODES[autoreset_mode] if autoreset_mode else env_pb2.AUTORESET_MODE_UNSPECIFIED,
                    render_mode=render_mode or "",
                    open_key=secrets.token_bytes(16),
                    max_message_bytes=max_message_bytes,
                    client=f"rlbridge {__version__} pid {os.getpid()}",
                ),
                timeout,
            )
            self._reference = opened.session
            self._epoch = opened.epoch
            self._next_seq = opened.next_seq
            self.observations = BlockCodec(decode_space(opened.observation_space))
            self.actions = BlockCodec(decode_space(opened.action_space))
            self.autoreset_mode = _MODE_OF.get(opened.autoreset_mode)
            self.metadata: dict[str, Any] = decode_value(opened.metadata) if opened.HasField("metadata") else {}
        except BaseException:
            link.close()
            raise

    def _handshake(self) -> env_pb2.DescribeResponse:
        request = env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION], client=f"rlbridge {__version__}")
        server: env_pb2.DescribeResponse = self._link.call(request, min(self.timeout, 10.0))
        if server.protocol_version != PROTOCOL_VERSION:
            raise ProtocolMismatch(
                f"{self.where} ({server.server or 'unknown server'}) speaks protocol versions "
                f"{list(server.protocol_versions)}, this client {PROTOCOL_VERSION}. Install matching versions of "
                "rlbridge on both sides.",
                expected=PROTOCOL_VERSION,
                got=list(server.protocol_versions),
            )
        return server

    # ------------------------------------------------------------------------------------------------- requests

    def reset(self, request: env_pb2.ResetRequest) -> env_pb2.ResetResponse:
        """Reset and wait. Raises what ``receive`` raises."""
        message = env_pb2.ExchangeRequest(reset=request)
        self._send(message, message.reset)
        return self.receive().reset

    def step(self, action: list[bytes]) -> env_pb2.StepResponse:
        """Step and wait. Raises what ``receive`` raises."""
        self.send_step(action)
        return self.receive().step

    def render(self) -> Any:
        """The rendered frame. Raises what ``receive`` raises."""
        message = env_pb2.ExchangeRequest(render=env_pb2.RenderRequest())
        self._send(message, message.render)
        return decode_value(self.receive().render.frame)

    def send_step(self, action: list[bytes]) -> None:
        """Start a step; its answer is for ``receive``."""
        request = env_pb2.ExchangeRequest()
        request.step.action.extend(action)
        self._send(request, request.step)

    def _send(self, request: env_pb2.ExchangeRequest, body: Any) -> None:
        """Number a request and start it; ``body`` is the one of its parts that is set."""
        if self._closed:
            raise SessionExpired(f"this environment ({self.where}) is closed; make a new one")
        if self._pending:
            raise RequestPending("a request is under way: receive its answer first")
        if self._introduce:  # the stream remembers who is speaking
            body.session.CopyFrom(self._reference)
            self._introduce = False
        body.seq, body.epoch = self._next_seq, self._epoch
        self._link.send(request)
        self._pending = True

    def receive(self) -> env_pb2.ExchangeResponse:
        """The answer to the request under way.

        Raises:
            InvalidAction, NeedsReset, Unsupported, WireError: refused; nothing happened, the session lives on.
            RemoteEnvError, MessageTooLarge: executed, and failed.
            SessionExpired, EnvLost, Superseded: the environment is gone, or somebody else's.
            Unavailable, DeadlineExceeded: the server cannot be reached.
        """
        if not self._pending:
            raise RequestPending("no request is under way: send one first")
        self._pending = False
        response = self._link.receive(self.timeout)
        kind = response.WhichOneof("response")
        if kind == "error":
            error = decode_error(response.error)
            if error.reason not in _NOT_USED_UP:
                self._next_seq += 1
            raise error
        if kind is None:
            raise WireError("an answer has no kind; the server may speak a newer protocol")
        seq = getattr(response, kind).seq
        if seq != self._next_seq:
            raise WireError(f"an answer to request {seq} where {self._next_seq} was asked")
        self._next_seq += 1
        return response

    def close(self) -> None:
        """Close the environment at the server, if it can still be reached, and let the connection go. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._link.call(env_pb2.CloseRequest(session=self._reference, epoch=self._epoch), min(self.timeout, 10.0))
        except BridgeError:
            pass  # gone already; else its lease will run out
        finally:
            self._link.close()
