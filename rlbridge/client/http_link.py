"""A link over HTTP: Connect unary calls for control, one WebSocket for the hot path."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import threading
import urllib.request
from typing import Any

from rlbridge.client.credentials import Credentials, CredentialsError
from rlbridge.client.target import Target
from rlbridge.client.websocket import HandshakeRefused, WebSocket, WebSocketEnded
from rlbridge.v1 import env_pb2
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

_SERVICE = "/rlbridge.v1.EnvService/"
_ANSWERS = {
    env_pb2.DescribeRequest: env_pb2.DescribeResponse,
    env_pb2.SpacesRequest: env_pb2.SpacesResponse,
    env_pb2.OpenRequest: env_pb2.OpenResponse,
    env_pb2.ResumeRequest: env_pb2.ResumeResponse,
    env_pb2.KeepAliveRequest: env_pb2.KeepAliveResponse,
    env_pb2.ResetRequest: env_pb2.ResetResponse,
    env_pb2.StepRequest: env_pb2.StepResponse,
    env_pb2.RenderRequest: env_pb2.RenderResponse,
    env_pb2.CloseRequest: env_pb2.CloseResponse,
}
_TOO_BIG = 1009  # RFC 6455, section 7.4.1


class HttpLink:
    """Connections to one server.

    Args:
        target: where.
        max_message_bytes: the largest message sent or taken.
        credentials: token and TLS files.

    Raises:
        CredentialsError: one of those files cannot be read.
    """

    # Less than what a connection takes while nobody reads at its other end (64 KiB, as systems are set up): both sides
    # could wait for each other with more.
    ahead = 48 * 1024

    def __init__(self, target: Target, max_message_bytes: int, credentials: Credentials) -> None:
        self._target = target
        self._limit = max_message_bytes
        token = credentials.token()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = _tls_context(credentials) if target.secure else None
        self._proxy = None if target.is_local_machine else _proxy(target)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._stream: WebSocket | None = None
        self._streaming = False
        self._failure: BridgeError | None = None
        self._known = False  # has answered as an rlbridge server does, so that a strange answer is the network's

    # ------------------------------------------------------------------------------------------------- control

    def call(self, request: Any, timeout: float) -> Any:
        method = type(request).DESCRIPTOR.name.removesuffix("Request")
        headers = {**self._headers, "Content-Type": "application/proto", "Connect-Protocol-Version": "1"}
        body = request.SerializeToString()
        connection = None
        if not isinstance(request, env_pb2.ResumeRequest):  # an attempt to resume counts once: on a fresh connection
            with self._lock:
                connection = self._idle.pop() if self._idle else None
        answer = None
        if connection is not None:
            # The server may have closed it in the meantime. Every one of these calls may be repeated.
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                answer = self._exchange(connection, method, headers, body, timeout)
        try:
            if answer is None:
                answer = self._exchange(self._connection(timeout), method, headers, body, timeout)
        except (OSError, http.client.HTTPException) as error:
            raise self._translated(error, timeout) from error
        return self._answer(request, answer)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer. The connection is kept for the next call if it may be."""
        try:
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request("POST", _SERVICE + method, body, headers)
            response = connection.getresponse()
            content = response.read(self._limit + 1)
            if response.length and len(content) <= self._limit:  # http.client does not look, when told how much to read
                raise http.client.IncompleteRead(content, response.length)
            kind = response.headers.get_content_type()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            # Once the hot path is open there is little to say beside it: better not to hold a second connection.
            if response.isclosed() and not response.will_close and self._stream is None:
                self._idle.append(connection)
            else:
                connection.close()
        return response.status, kind, content

    def _answer(self, request: Any, answer: tuple[int, str, bytes]) -> Any:
        status, kind, content = answer
        if status == 200 and kind == "application/proto":
            if len(content) > self._limit:
                raise MessageTooLarge(
                    f"{self._target.text} answered more than {self._limit} bytes. Raise max_message_bytes.",
                    limit=self._limit,
                )
            answer_type: Any = _ANSWERS[type(request)]
            self._known = True
            return answer_type.FromString(content)
        raise self._refused(status, content)

    # ------------------------------------------------------------------------------------------------ hot path

    @property
    def streaming(self) -> bool:
        return self._streaming

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        # What goes wrong here is told by receive(): only there it is known which answer will not come.
        self._streaming = True
        message = request.SerializeToString()
        try:
            if len(message) > self._limit:
                raise MessageTooLarge(
                    f"the request has {len(message)} bytes, the limit is {self._limit}. Raise max_message_bytes.",
                    size=len(message),
                    limit=self._limit,
                    side="client",
                )
            if self._stream is None:
                self._stream = self._upgraded(10.0)
            self._stream.send(message)
        except BridgeError as error:
            self._failure = error
        except OSError as error:
            self._failure = self._translated(error, 10.0)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        try:
            if self._failure is not None:
                raise self._failure
            assert self._stream is not None, "receive() before send()"
            return env_pb2.ExchangeResponse.FromString(self._stream.receive(timeout))
        except BridgeError:
            self._end_stream()
            raise
        except OSError as error:
            self._end_stream()
            raise self._translated(error, timeout) from error

    def _upgraded(self, timeout: float) -> WebSocket:
        """A new WebSocket. Raises BridgeError where the server refuses it, OSError where none answers."""
        try:
            connection = self._connection(timeout)
            connection.connect()  # through TLS, and a proxy's tunnel if there is one
            uri = f"ws://{self._target.address}{_SERVICE}Exchange"
            stream = WebSocket(connection.sock, uri, self._headers, self._limit, timeout)
        except HandshakeRefused as error:
            raise self._refused(error.status, error.body, str(error)) from error
        except http.client.HTTPException as error:
            raise self._translated(error, timeout) from error
        self._close_idle()
        return stream

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        self._streaming, self._failure = False, None
        if stream is not None:
            stream.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def drop(self) -> None:
        self._end_stream()
        self._close_idle()

    def close(self) -> None:
        self.drop()

    # --------------------------------------------------------------------------------------------- connections

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        """Not connected yet; connecting sets TCP_NODELAY."""
        address = self._proxy or self._target.address
        if self._tls is None:
            connection = http.client.HTTPConnection(address, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(address, timeout=timeout, context=self._tls)
        if self._proxy:
            connection.set_tunnel(self._target.address)
        return connection

    def _translated(self, error: Exception, timeout: float) -> BridgeError:
        """The exception for a call that got no answer, or none in HTTP."""
        where = self._target.text
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(
                f"{where} did not answer within {timeout:g} s. The server hangs, its environment is slow, or what "
                "listens there is no environment server. Raise timeout= if it needs longer.",
                limit=timeout,
            )
        if isinstance(error, WebSocketEnded) and error.code == _TOO_BIG:
            return MessageTooLarge(f"{where}: {error}. Raise max_message_bytes on the side that refused.")
        if isinstance(error, ssl.SSLError):
            return ProtocolMismatch(
                f"no TLS connection to {where}: {error.reason or error}. The certificate must be signed by an "
                "authority this side knows (tls_ca=) for the very name in the target; is it https there at all?"
            )
        if isinstance(error, OSError):  # http.client's RemoteDisconnected too
            text = str(error) or type(error).__name__
            return Unavailable(f"nothing answers at {where} ({text}). Is the server running, and the address right?")
        if self._known or isinstance(error, http.client.IncompleteRead):
            return Unavailable(f"the connection to {where} broke ({type(error).__name__}: {error})")
        return ProtocolMismatch(f"what answers at {where} does not speak HTTP ({type(error).__name__}: {error})")

    def _refused(self, status: int, content: bytes, text: str = "") -> BridgeError:
        """The exception for an answer that is none of the expected: the host's own where it sent one."""
        own = _own_error(content)
        if own is not None:
            return own
        where, what = self._target.text, f"HTTP status {status}" if status else text
        if status == 401:
            return Unauthenticated(f"{where}: {what}; something in between wants to know who you are")
        if status == 403:
            return PermissionDenied(f"{where}: {what}; something in between does not let this through")
        if status == 429:
            return CapacityExhausted(f"{where} is serving as many calls as it can ({what}). Try again later.")
        if status in (502, 503, 504):
            return Unavailable(f"{where} cannot serve at the moment ({what})")
        if self._known and status in (0, 200):  # the beginning of an answer that broke off
            return Unavailable(f"the connection to {where} broke ({what})")
        return ProtocolMismatch(f"a web server answers at {where}, but it is no rlbridge server ({what})")


def _own_error(content: bytes) -> BridgeError | None:
    """The error in a body that rlbridge wrote; None in any other."""
    try:
        for detail in json.loads(content)["details"]:
            if detail["type"] == "rlbridge.v1.Error":
                value = detail["value"]
                return decode_error(env_pb2.Error.FromString(base64.b64decode(value + "=" * (-len(value) % 4))))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    except Exception as error:  # protobuf's DecodeError, whose home has moved between versions
        if type(error).__name__ != "DecodeError":
            raise
    return None


def _tls_context(credentials: Credentials) -> ssl.SSLContext:
    credentials.tls()  # says which file cannot be read, which ssl does not
    try:
        context = ssl.create_default_context(cafile=credentials.tls_ca)
        if credentials.tls_cert:
            context.load_cert_chain(credentials.tls_cert, credentials.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise CredentialsError(f"the TLS files cannot be used: {error}") from error
    return context


def _proxy(target: Target) -> str | None:
    """``host:port`` of the proxy that the environment names for this target; a tunnel through it is asked for."""
    host = target.address.rsplit(":", 1)[0].strip("[]")
    if urllib.request.proxy_bypass(host):
        return None
    url = urllib.request.getproxies().get("https" if target.secure else "http")
    return url.split("//")[-1].split("@")[-1].rstrip("/") if url else None
