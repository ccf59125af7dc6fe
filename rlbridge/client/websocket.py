"""A WebSocket driven by the thread that uses it: no reader thread, so no hand-over between two for every answer.

The protocol is that of the ``websockets`` package, in its form without input and output; the socket is ours.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from rlbridge.wire.busy_wait import BusyWait, readable

_PIECE = 1 << 16  # bytes read at once; beyond 128 KiB, making room for them is a call into the kernel each time


class HandshakeRefused(Exception):
    """The server answered the upgrade with something else.

    Attributes:
        status: of its HTTP answer; 0 where that was no HTTP.
        body: of its answer.
    """

    def __init__(self, text: str, status: int = 0, body: bytes = b"") -> None:
        super().__init__(text)
        self.status, self.body = status, body


class WebSocketEnded(ConnectionError):
    """The connection is closed; ``code`` is that of the WebSocket's closing frame, 1006 without one."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with code {code}{': ' + reason if reason else ''}")
        self.code = code


class WebSocket:
    """Binary messages over a connected socket, which is closed with it.

    Args:
        connection: TCP or TLS, with nothing sent yet.
        uri: ``ws://host:port/path`` (``wss://`` has no meaning here: encryption is the connection's).
        headers: for the handshake.
        max_size: of a message received, in bytes.
        timeout: seconds for the handshake.

    Raises:
        HandshakeRefused: what answers there does not upgrade.
        TimeoutError, OSError: no answer.
    """

    def __init__(
        self, connection: socket.socket, uri: str, headers: Mapping[str, str], max_size: int, timeout: float
    ) -> None:
        self._socket = connection
        self._timeout = 0.0
        self._events: deque[Any] = deque()  # received and not looked at
        self._busy = BusyWait()
        self._readable = readable([connection.fileno()])
        self._protocol = ClientProtocol(parse_uri(uri), max_size=max_size)
        try:
            request = self._protocol.connect()
            for name, value in headers.items():
                request.headers[name] = value
            self._protocol.send_request(request)
            self._flush()
            self._shake_hands(time.monotonic() + timeout)
        except BaseException:
            connection.close()
            raise

    def _shake_hands(self, due: float) -> None:
        while True:
            self._read(due)
            for event in self._protocol.events_received():
                if isinstance(event, Response) and self._protocol.state is State.OPEN:
                    return
            error = self._protocol.handshake_exc
            if isinstance(error, InvalidStatus):
                status, body = error.response.status_code, bytes(error.response.body or b"")
                raise HandshakeRefused(f"HTTP status {status}", status, body)
            if isinstance(error, (InvalidHandshake, ValueError)):
                raise HandshakeRefused(str(error))
            if error is not None:
                raise WebSocketEnded(1006, str(error))

    def send(self, message: bytes) -> None:
        """Send one message. Raises OSError where the connection is found broken, if it is found at all."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._flush()

    def receive(self, timeout: float) -> bytes:
        """The next message.

        Raises:
            TimeoutError: not within ``timeout`` seconds.
            WebSocketEnded, OSError: the connection is closed or broken.
        """
        due = time.monotonic() + timeout
        pieces: list[Any] = []  # a bytearray, perhaps, which is parsed as well
        while True:
            self._events.extend(self._protocol.events_received())
            while self._events:  # more than one where several answers came at once
                event = self._events.popleft()
                if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                    pieces.append(event.data)
                    if event.fin:
                        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._protocol.state is not State.OPEN:
                close = self._protocol.close_rcvd or self._protocol.close_sent
                raise WebSocketEnded(close.code, close.reason) if close else WebSocketEnded(1006, "")
            self._read(due)

    def _read(self, due: float) -> None:
        wait = due - time.monotonic()
        if wait <= 0:
            raise TimeoutError
        if not 0.9 * self._timeout <= wait <= self._timeout:  # setting it is a call into the kernel
            self._socket.settimeout(wait)
            self._timeout = wait
        data = self._busy.take(self._readable, self._socket.recv, _PIECE)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()  # the answers to pings and to a close

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)
            else:  # the package's sign for the end of writing
                self._socket.close()

    def close(self) -> None:
        """Close without waiting for the other side. Idempotent."""
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._socket.settimeout(0.2)
                self._flush()
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
