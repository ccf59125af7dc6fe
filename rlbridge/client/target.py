"""Targets: the one string that says where an environment is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

_TRANSPORTS = {"grpc": "grpc", "grpcs": "grpc", "http": "http", "https": "http"}
_SOCKETS = {"unix": "grpc", "shm": "shm"}  # by the path of a unix socket
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadTarget(ValueError):
    """The string is no target; the message says what one looks like."""


@dataclass(frozen=True)
class Target:
    """A remote environment.

    Attributes:
        text: as the user wrote it.
        address: what is connected to, ``host:port`` or, over ``unix`` and ``shm``, ``unix:/path``.
        environment: one of those the server offers; empty for its first.
        secure: encrypted by TLS.
        is_local_machine: loopback or a unix socket, so that no proxy has any business in between.
        transport: ``grpc``, ``http`` or ``shm``.
    """

    text: str
    address: str
    environment: str
    secure: bool
    is_local_machine: bool
    transport: str = "grpc"


def is_remote(text: str) -> bool:
    """Whether the string names a server, as opposed to an environment in this process."""
    return "://" in text


def parse_target(text: str) -> Target:
    """Read ``grpc[s]://host:port[/environment]``, ``http[s]://host[:port][/environment]``, or ``unix:///path[?env=name]``
    or ``shm:///path[?env=name]``.

    Raises:
        BadTarget: another scheme, no port, an unknown option.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadTarget(f"target {text!r}: {error}") from error
    options = dict(parse_qsl(parts.query))
    environment = options.pop("env", "")
    if options:
        raise BadTarget(f"target {text!r}: unknown option {', '.join(options)}; the one there is: env")
    if parts.scheme in _SOCKETS and parts.path and not parts.netloc:
        return Target(text, f"unix:{unquote(parts.path)}", environment, False, True, _SOCKETS[parts.scheme])
    port = port or _DEFAULT_PORTS.get(parts.scheme)
    if parts.scheme in _TRANSPORTS and parts.hostname and port:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Target(
            text,
            f"{host}:{port}",
            environment or unquote(parts.path.lstrip("/")),
            parts.scheme.endswith("s"),
            _is_loopback(parts.hostname),
            _TRANSPORTS[parts.scheme],
        )
    if parts.scheme in (*_TRANSPORTS, *_SOCKETS):
        raise BadTarget(
            f"target {text!r}: expected grpc://HOST:PORT[/ENVIRONMENT], http://HOST:PORT[/ENVIRONMENT], "
            "unix:///PATH or shm:///PATH"
        )
    raise BadTarget(
        f"target {text!r}: this version speaks grpc://, grpcs://, http://, https://, unix:// and shm://; without a "
        "scheme, a target is an environment in this process (a Gymnasium id or module:factory)"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
