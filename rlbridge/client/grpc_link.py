"""A link over gRPC: unary calls for control, one bidirectional stream for the hot path."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

from rlbridge.grpc_core import grpc

from rlbridge.client.credentials import Credentials
from rlbridge.client.grpc_stream import Stream, open_stream
from rlbridge.client.target import Target
from rlbridge.v1 import env_pb2, env_pb2_grpc
from rlbridge.wire.errors import (
    BridgeError,
    CapacityExhausted,
    DeadlineExceeded,
    MessageTooLarge,
    PermissionDenied,
    ProtocolMismatch,
    Unauthenticated,
    Unavailable,
    decode_error,
)

ERROR_TRAILER = "rlbridge-error-bin"

_BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)

# A fork inherits grpc objects without the threads that serve them; freeing them there can crash. So what was garbage
# before the fork stays uncollected in the child. (Its parent collects its own copy.)
os.register_at_fork(after_in_child=gc.freeze)


class GrpcLink:
    """One channel to one server at a time.

    Args:
        target: where.
        max_message_bytes: the largest message sent or taken.
        credentials: token and TLS files.

    Raises:
        CredentialsError: one of those files cannot be read.
    """

    ahead = 56 * 1024  # less than what a stream takes unread (64 KiB, RFC 9113), so that sending never waits

    def __init__(self, target: Target, max_message_bytes: int, credentials: Credentials) -> None:
        self._target = target
        token = credentials.token()
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._tls = grpc.ssl_channel_credentials(*credentials.tls()) if target.secure else None
        self._options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.enable_retries", 0),  # retries are the session's: it alone knows what may be repeated
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every session
            ("grpc.enable_http_proxy", 0 if target.is_local_machine else 1),
        ]
        self._lock = threading.Lock()
        self._closed = False
        self._connection: _Connection | None = None
        self._stream: Stream | None = None
        self._known = False  # has answered as an rlbridge server does, so that a strange failure is the network's

    def call(self, request: Any, timeout: float) -> Any:
        try:
            answer = self._connected().calls[type(request)](request, timeout=timeout, metadata=self._metadata)
            self._known = True
            return answer
        except grpc.RpcError as error:
            raise self._translated(error, timeout) from error
        except ValueError as error:  # grpc's word for a channel that another thread has closed meanwhile
            raise Unavailable(f"the connection to {self._target.text} was given up") from error

    @property
    def streaming(self) -> bool:
        return self._stream is not None

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        if self._stream is None:
            connection = self._connected()
            self._stream = open_stream(connection.channel, connection.exchange, self._target.address, self._metadata)
        self._stream.send(request)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        assert self._stream is not None, "receive() before send()"
        try:
            return self._stream.receive(timeout)
        except grpc.RpcError as error:
            self._stream.close()
            self._stream = None
            raise self._translated(error, timeout) from error

    def drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.drop()

    def _connected(self) -> _Connection:
        with self._lock:
            if self._closed:  # a renewal of the lease that comes late must not connect again
                raise Unavailable(f"the connection to {self._target.text} is closed")
            if self._connection is None:
                self._connection = _Connection(self._channel())
            return self._connection

    def _channel(self) -> grpc.Channel:
        if self._tls is None:
            return grpc.insecure_channel(self._target.address, options=self._options)
        return grpc.secure_channel(self._target.address, self._tls, options=self._options)

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
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return PermissionDenied(f"{where}: {text}")
        if self._known and code in _BROKEN:
            return Unavailable(f"the connection to {where} broke ({text})")
        if code is grpc.StatusCode.UNAVAILABLE and not _speaks_otherwise(text):
            return Unavailable(
                f"nothing answers at {where} ({text}). Is the server running, and the address right? "
                f"`rlbridge doctor {where}` names the cause."
            )
        return ProtocolMismatch(
            f"what answers at {where} does not speak gRPC, or not as rlbridge does ({code}: {text})"
        )


class _Connection:
    """A channel and its calls. A dead peer can leave a channel looking well, so a doubtful one is replaced whole."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.close = weakref.finalize(self, _close, channel, os.getpid())  # also where nobody closes it
        self.close.atexit = False
        stub: Any = env_pb2_grpc.EnvServiceStub(channel)
        self.exchange = stub.Exchange
        self.calls = {
            env_pb2.DescribeRequest: stub.Describe,
            env_pb2.SpacesRequest: stub.Spaces,
            env_pb2.OpenRequest: stub.Open,
            env_pb2.ResumeRequest: stub.Resume,
            env_pb2.KeepAliveRequest: stub.KeepAlive,
            env_pb2.CloseRequest: stub.Close,
            env_pb2.ResetRequest: stub.Reset,
            env_pb2.StepRequest: stub.Step,
            env_pb2.RenderRequest: stub.Render,
        }


def _close(channel: grpc.Channel, process: int) -> None:
    if os.getpid() == process:
        channel.close()


def _speaks_otherwise(text: str) -> bool:
    """Whether grpc's words for an UNAVAILABLE peer mean that it did answer, in another protocol."""
    words = ("http1", "http/1", "http2", "http/2", "ssl", "settings frame", "parsing", "protocol")
    return any(word in text.lower() for word in words)
