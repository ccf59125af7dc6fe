"""Targets: the one string that says where an environment is."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit


class BadTarget(ValueError):
    """The string is no target; the message says what one looks like."""


@dataclass(frozen=True)
class Target:
    """A remote environment.

    Attributes:
        text: as the user wrote it.
        address: what grpc connects to, ``host:port`` or ``unix:/path``.
        environment: one of those the server offers; empty for its first.
        secure: encrypted by TLS.
        is_local_machine: loopback or a unix socket, so that no proxy has any business in between.
    """

    text: str
    address: str
    environment: str
    secure: bool
    is_local_machine: bool


def is_remote(text: str) -> bool:
    """Whether the string names a server, as opposed to an environment in this process."""
    return "://" in text


def parse_target(text: str) -> Target:
    """Read ``grpc[s]://host:port[/environment]``, ``unix:///path`` or ``unix:///path?env=name``.

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
    if parts.scheme == "unix" and parts.path:
        return Target(text, f"unix:{unquote(parts.path)}", environment, False, True)
    if parts.scheme in ("grpc", "grpcs") and parts.hostname and port:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Target(
            text,
            f"{host}:{port}",
            environment or unquote(parts.path.lstrip("/")),
            parts.scheme == "grpcs",
            _is_loopback(parts.hostname),
        )
    if parts.scheme in ("grpc", "grpcs", "unix"):
        raise BadTarget(f"target {text!r}: expected grpc://HOST:PORT[/ENVIRONMENT] or unix:///PATH")
    raise BadTarget(
        f"target {text!r}: this version speaks grpc://, grpcs:// and unix://; without a scheme, a target is an "
        "environment in this process (a Gymnasium id or module:factory)"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
