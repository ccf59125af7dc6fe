"""Proxies that the environment variables put between a client and a target.

For http:// and https:// the rules are those of urllib. gRPC has its own: only lower-case names count, the first
variable that is set decides even where it is empty, https_proxy is taken for unencrypted targets too, and ``*`` in
no_proxy means nothing. Documented in https://github.com/grpc/grpc/blob/master/doc/environment_variables.md, the rest
observed with grpcio 1.85.1.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from rlbridge.doctor.connection import Dial, failure, open_socket
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.place import Place

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


@dataclass(frozen=True)
class Proxy:
    """A proxy and the variable that names it. A password in the URL is not kept."""

    variable: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.variable}=http://{self.host}:{self.port}"


def examine_proxy(place: Place, deadline: Deadline) -> tuple[Dial | None, Finding]:
    """Find the proxy that captures the target, and the way through it.

    Returns:
        A way to the target through the proxy, or None where none stands in between; and the finding.

    Raises:
        Problem: a proxy captures the target and does not let it through.
    """
    if place.target.is_local_machine:
        return None, Finding("proxy", "ok", "none between: the target is on this machine")
    proxy = _chosen() if place.grpc else _chosen_by_urllib(place)
    if proxy is None:
        return None, Finding("proxy", "ok", "none: the environment variables name no proxy for this target")
    exceptions = _first_set(_EXCEPTIONS if place.grpc else ("no_proxy", "NO_PROXY"))
    if _excepted(place, exceptions[1] if exceptions else ""):
        variable = exceptions[0] if exceptions else "the system"
        return None, Finding("proxy", "ok", f"none between: {proxy}, but {variable} makes an exception")

    def through(seconds: float) -> socket.socket:
        return _tunnel(proxy, place, seconds)

    # Setting the variable that gRPC looks at first: it would not look at another one.
    variable = exceptions[0] if exceptions else "no_proxy"
    already = f"{exceptions[1]}," if exceptions and exceptions[1] else ""
    advice = f"If the target can be reached directly, set {variable}={already}{place.host} (no port, no wildcard)."
    try:
        through(deadline.within(4.0)).close()
    except OSError as error:
        straight = _directly(place, deadline.within(2.0))
        raise Problem("proxy", f"proxy captured: {proxy} captures this target, {error}; {straight}", advice) from error
    return through, Finding("proxy", "warning", f"{proxy} captures this target, and lets it through", advice)


def _chosen() -> Proxy | None:
    chosen = _first_set(_PROXIES)
    if chosen is None:
        return None
    variable, value = chosen
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname:  # gRPC knows no other kind, and ignores it
        return None
    return Proxy(variable, parts.hostname, port or 80)


def _chosen_by_urllib(place: Place) -> Proxy | None:
    kind = "https" if place.target.secure else "http"
    url = urllib.request.getproxies().get(kind)
    if not url:
        return None
    variable = next((name for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if name in os.environ), "the system")
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        return Proxy(variable, parts.hostname or "", parts.port or (443 if place.target.secure else 80))
    except ValueError:
        return None


def _first_set(variables: tuple[str, ...]) -> tuple[str, str] | None:
    return next(((name, os.environ[name]) for name in variables if name in os.environ), None)


def _excepted(place: Place, exceptions: str) -> bool:
    if place.grpc:
        return any(_excepts(entry.strip(), place.host) for entry in exceptions.split(","))
    return bool(urllib.request.proxy_bypass(place.host))


def _excepts(entry: str, host: str) -> bool:
    """Whether one entry of no_proxy is for this host: the name, a domain above it, an address, a CIDR range."""
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return host == entry.lower() or host.endswith("." + entry.lower().lstrip("."))


def _tunnel(proxy: Proxy, place: Place, seconds: float) -> socket.socket:
    """A connection to the target through the proxy.

    Raises:
        OSError: says what the proxy did, as the end of a sentence.
    """
    try:
        connection = open_socket(proxy.host, proxy.port, seconds)
    except OSError as error:
        raise OSError(f"and the proxy cannot be reached: {failure(error)}") from error
    try:
        connection.settimeout(seconds)
        connection.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < 16_384:
            piece = connection.recv(1)  # no further: what follows is the target's
            if not piece:
                break
            answer += piece
    except TimeoutError as error:
        connection.close()
        raise OSError(f"and the proxy does not answer within {seconds:.1f} s") from error
    except OSError:
        connection.close()
        answer = b""
    status = answer.split(b"\r\n")[0].decode(errors="replace")
    if status.split()[1:2] != ["200"]:
        connection.close()
        raise OSError(f"and the proxy answers {status[:80]!r}" if status else "and the proxy hangs up")
    return connection


def _directly(place: Place, seconds: float) -> str:
    try:
        open_socket(place.host, place.port, seconds).close()
    except OSError as error:
        return f"directly, the target cannot be reached either ({failure(error)})"
    return "directly, the target can be reached"
