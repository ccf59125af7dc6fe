"""What speaks at the other end of a connection, judged by its first bytes."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Literal

from rlbridge.doctor.connection import Dial

Language = Literal["HTTP/2", "HTTP/1", "TLS", "other", "closed", "silent"]

# RFC 9113, section 3.4: the connection preface and an empty SETTINGS frame. The server's first frame is SETTINGS.
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        language: ``closed``: hung up without a byte; ``silent``: nothing within the time allowed.
        text: its beginning, for people.
    """

    language: Language
    text: str = ""


def greet(connection: socket.socket, host: str, grpc: bool, seconds: float) -> Answer:
    """Say hello as a gRPC client or an HTTP/1.1 client would, and look at what comes back. Closes the connection.

    Raises:
        ssl.SSLError: the other side of a TLS connection ends it for a reason of TLS, such as a client certificate.
    """
    hello = _HTTP2 if grpc else f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    end = time.monotonic() + seconds
    data = b""
    with connection:
        try:
            connection.settimeout(seconds)
            connection.sendall(hello)
            while len(data) < 9 or (data.startswith(b"HTTP/") and b"\r\n" not in data and len(data) < 200):
                connection.settimeout(max(0.01, end - time.monotonic()))
                piece = connection.recv(200)
                if not piece:
                    break
                data += piece
        except TimeoutError:
            if not data:
                return Answer("silent")
        except ssl.SSLError as error:
            if not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                raise
        except OSError:
            pass  # hung up
    return _judged(data)


def recognise(dial: Dial, host: str, grpc: bool, seconds: float) -> Answer:
    """Greet over new connections until something is said that makes sense. Never raises.

    A web server that is spoken to in HTTP/2 may hang up, or answer in something that is no protocol at all; so it is
    spoken to in HTTP/1.1 before it is judged.
    """
    answer = Answer("closed")
    for language in (True, False) if grpc else (False,):
        try:
            said = greet(dial(seconds), host, language, seconds)
        except OSError:
            said = Answer("closed")
        if language is grpc or said.language == "HTTP/1":
            answer = said
        if answer.language not in ("closed", "other"):
            break
    return answer


def _judged(data: bytes) -> Answer:
    text = data.split(b"\r\n")[0][:60].decode("ascii", errors="backslashreplace")
    if not data:
        return Answer("closed")
    if data.startswith(b"HTTP/"):
        return Answer("HTTP/1", text)
    if len(data) >= 9 and data[3] == 4 and data[5:9] == b"\x00\x00\x00\x00":
        return Answer("HTTP/2")
    if data[:2] == b"\x15\x03":  # a TLS alert
        return Answer("TLS")
    return Answer("other", text)
