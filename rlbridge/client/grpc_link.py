"""A link over gRPC: unary calls for control, one bidirectional stream for the hot path."""

from __future__ import annotations

from typing import Any

import grpc

from rlbridge.client.grpc_stream import Stream, open_stream
from rlbridge.client.target import Target
from rlbridge.v1 import env_pb2, env_pb2_grpc
from rlbridge.wire.errors import (
    BridgeError,
    CapacityExhausted,
    DeadlineExceeded,
    MessageTooLarge,
    ProtocolMismatch,
    Unauthenticated,
    Unavailable,
    decode_error,
)

ERROR_TRAILER = "rlbridge-error-bin"


class GrpcLink:
    """One channel to one server.

    Args:
        target: where.
        max_message_bytes: the largest message sent or taken.
    """

    def __init__(self, target: Target, max_message_bytes: int) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(
            target.address,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.enable_retries", 0),  # retries are the session's: it alone knows what may be repeated
                ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every session
                ("grpc.enable_http_proxy", 0 if target.is_local_machine else 1),
            ],
        )
        stub: Any = env_pb2_grpc.EnvServiceStub(self._channel)
        self._calls = {
            env_pb2.DescribeRequest: stub.Describe,
            env_pb2.SpacesRequest: stub.Spaces,
            env_pb2.OpenRequest: stub.Open,
            env_pb2.CloseRequest: stub.Close,
        }
        self._exchange = stub.Exchange
        self._stream: Stream | None = None

    def call(self, request: Any, timeout: float) -> Any:
        try:
            return self._calls[type(request)](request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._translated(error, timeout) from error

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        if self._stream is None:
            self._stream = open_stream(self._channel, self._exchange)
        self._stream.send(request)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        assert self._stream is not None, "receive() before send()"
        try:
            return self._stream.receive(timeout)
        except grpc.RpcError as error:
            self._drop_stream()
            raise self._translated(error, timeout) from error

    def close(self) -> None:
        self._drop_stream()
        self._channel.close()

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _translated(self, error: Any, timeout: float) -> BridgeError:
        """The exception for a failed call: the host's own where it sent one, else what the transport says."""
        for key, value in error.trailing_metadata() or ():
            if key == ERROR_TRAILER:
                return decode_error(env_pb2.Error.FromString(value))
        code, text, where = error.code(), error.details() or "", self._target.text
        if code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return DeadlineExceeded(
                f"{where} did not answer within {timeout:g} s. The server hangs, its environment is slow, or what "
                "listens there is no environment server. Raise timeout= if it needs longer.",
                limit=timeout,
            )
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return ProtocolMismatch(f"a gRPC server answers at {where}, but it is no rlbridge server ({text})")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            if "larger than max" in text:
                return MessageTooLarge(f"{where}: {text}. Raise max_message_bytes on the side that refused.")
            return CapacityExhausted(f"{where} is serving as many calls as it can ({text}). Try again later.")
        if code is grpc.StatusCode.UNAUTHENTICATED:
            return Unauthenticated(f"{where}: {text}")
        if code is grpc.StatusCode.UNAVAILABLE and not _speaks_otherwise(text):
            return Unavailable(f"nothing answers at {where} ({text}). Is the server running, and the address right?")
        return ProtocolMismatch(
            f"what answers at {where} does not speak gRPC, or not as rlbridge does ({code}: {text})"
        )


def _speaks_otherwise(text: str) -> bool:
    """Whether grpc's words for an UNAVAILABLE peer mean that it did answer, in another protocol."""
    words = ("http1", "http/1", "http2", "http/2", "ssl", "settings frame", "parsing", "protocol")
    return any(word in text.lower() for word in words)
