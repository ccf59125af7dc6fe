"""All that a client knows of a transport."""

from __future__ import annotations

from typing import Any, Protocol

from rlbridge.v1 import env_pb2


class Link(Protocol):
    """One way to reach a host: ``GrpcLink`` over the network, ``LocalLink`` in this process."""

    def call(self, request: Any, timeout: float) -> Any:
        """A control request (describe, spaces, open, resume, keep-alive, close) and its answer. Any thread may call.

        Reset, step and render may be called too, one at a time: slower than ``send``, and all that some servers have.

        Raises:
            Unavailable: nothing answers there.
            DeadlineExceeded: no answer within ``timeout`` seconds.
            ProtocolMismatch: what answers is not an environment server.
            BridgeError: the host's own refusal.
        """

    @property
    def streaming(self) -> bool:
        """Whether requests have been sent on the present connection."""

    @property
    def ahead(self) -> int:
        """How many bytes of requests may be sent behind one that is not answered yet, and how large that one may be;
        0: one at a time."""

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        """Start a request on the hot path; requests are answered in order."""

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        """The answer to the oldest request not yet answered.

        Raises:
            Unavailable: the connection broke.
            DeadlineExceeded: no answer within ``timeout`` seconds.
        """

    def drop(self) -> None:
        """Forget the connection and what is under way on it; the next call or send makes a new one."""

    def close(self) -> None:
        """Let the connection go. Idempotent."""
