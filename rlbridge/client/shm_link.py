"""A link to a server on the same machine: a unix socket, and memory that both sides see for what is large."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from rlbridge.client.credentials import Credentials
from rlbridge.client.target import Target
from rlbridge.v1 import env_pb2
from rlbridge.wire.busy_wait import BusyWait
from rlbridge.wire.channel import HELLO_PREFIX, BadFrame, Channel, Kind, supported
from rlbridge.wire.errors import (
    BridgeError,
    DeadlineExceeded,
    MessageTooLarge,
    PermissionDenied,
    ProtocolMismatch,
    Unavailable,
    Unsupported,
    decode_error,
)

_CONNECT_SECONDS = 10.0


class ShmLink:
    """Connections to one server: one for the hot path, and one for each other call.

    Args:
        target: where.
        max_message_bytes: the largest message sent or taken.
        credentials: a token.

    Raises:
        CredentialsError: the token file cannot be read.
        Unsupported: this system is not Linux.
    """

    ahead = 0  # the shared memory holds one message of each side

    def __init__(self, target: Target, max_message_bytes: int, credentials: Credentials) -> None:
        if not supported():
            raise Unsupported("shm:// needs Linux; on this system, use unix:///PATH or grpc://127.0.0.1:PORT")
        self._target = target
        self._path = target.address.removeprefix("unix:")
        self._limit = max_message_bytes
        token = credentials.token()
        self._authorization = f"Bearer {token}" if token else ""
        self._closed = False
        self._stream: Channel | None = None
        self._streaming = False
        self._failure: BridgeError | None = None

    # ------------------------------------------------------------------------------------------------- control

    def call(self, request: Any, timeout: float) -> Any:
        name = type(request).DESCRIPTOR.name.removesuffix("Request")
        try:
            channel = self._connected(name, timeout)
            try:
                with contextlib.suppress(BrokenPipeError):  # refused already: what comes says why
                    channel.send(Kind.MESSAGE, request.SerializeToString())
                answer = _message(*channel.receive(timeout))
            finally:
                channel.close()
        except (OSError, BridgeError) as error:
            raise self._translated(error, timeout) from error
        return getattr(env_pb2, f"{name}Response").FromString(answer)

    # ------------------------------------------------------------------------------------------------ hot path

    @property
    def streaming(self) -> bool:
        return self._streaming

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        # What goes wrong here is told by receive(): only there it is known which answer will not come.
        self._streaming = True
        try:
            message = request.SerializeToString()
            if len(message) > self._limit:
                raise MessageTooLarge(
                    f"the request has {len(message)} bytes, the limit is {self._limit}. Raise max_message_bytes.",
                    size=len(message),
                    limit=self._limit,
                    side="client",
                )
            if self._stream is None:
                self._stream = self._opened()
            self._stream.send(Kind.MESSAGE, message)
        except (OSError, BridgeError) as error:
            self._failure = self._translated(error, _CONNECT_SECONDS)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        try:
            if self._failure is not None:
                raise self._failure
            assert self._stream is not None, "receive() before send()"
            return env_pb2.ExchangeResponse.FromString(_message(*self._stream.receive(timeout)))
        except (OSError, BridgeError) as error:
            self._end_stream()
            raise self._translated(error, timeout) from error

    def _opened(self) -> Channel:
        """A new stream, with its shared memory."""
        channel = self._connected("Exchange", _CONNECT_SECONDS)
        try:
            kind, payload = channel.take_memory(_CONNECT_SECONDS)
            if kind != Kind.MEMORY:
                _message(kind, payload)
                raise BadFrame("the server offers no shared memory")
            channel.look_first(BusyWait())
        except BaseException:
            channel.close()
            raise
        return channel

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        self._streaming, self._failure = False, None
        if stream is not None:
            stream.close()

    def drop(self) -> None:
        self._end_stream()

    def close(self) -> None:
        self._closed = True
        self._end_stream()

    # --------------------------------------------------------------------------------------------- connections

    def _connected(self, call: str, timeout: float) -> Channel:
        """A connection for a call, on which the greeting has been sent."""
        if self._closed:  # a renewal of the lease that comes late must not connect again
            raise Unavailable(f"the connection to {self._target.text} is closed")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self._path)
            channel = Channel(connection, self._limit)
            with contextlib.suppress(BrokenPipeError):
                channel.send(Kind.HELLO, HELLO_PREFIX + f"{call}\n{self._authorization}".encode())
        except BaseException:
            connection.close()
            raise
        return channel

    def _translated(self, error: Exception, timeout: float) -> BridgeError:
        """The exception for a call that got no answer, or none that makes sense; the host's own as it is."""
        where = self._target.text
        if isinstance(error, BadFrame):
            return ProtocolMismatch(f"what answers at {where} is no rlbridge server over shared memory ({error})")
        if isinstance(error, BridgeError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(
                f"{where} did not answer within {timeout:g} s. The server hangs, its environment is slow, or what "
                "listens there is no environment server. Raise timeout= if it needs longer.",
                limit=timeout,
            )
        if isinstance(error, PermissionError):
            return PermissionDenied(f"this user may not use the socket of {where}: it belongs to the server's user")
        text = str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError, BlockingIOError)):
            return Unavailable(
                f"nothing answers at {where} ({text}). Is the server running on this machine, and the path right? "
                f"`rlbridge doctor {where}` names the cause."
            )
        return Unavailable(f"the connection to {where} broke ({text})")


def _message(kind: int, payload: memoryview) -> Any:
    """The payload of an answer.

    Raises:
        BridgeError: the host's own refusal.
        BadFrame: it is another kind of frame.
    """
    if kind == Kind.MESSAGE:
        return payload
    if kind == Kind.ERROR:
        raise decode_error(env_pb2.Error.FromString(bytes(payload)))
    raise BadFrame(f"a frame of kind {kind} came where an answer is expected")
