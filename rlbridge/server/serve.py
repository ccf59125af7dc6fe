"""``serve``: from an environment's name to a running server."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rlbridge.server.actions import ActionBounds
from rlbridge.server.auth import ServerTls, Tokens
from rlbridge.server.catalog import Offer, load_catalog
from rlbridge.server.grpc_server import GrpcServer
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits
from rlbridge.server.shm_server import NotSupported, ShmServer

if TYPE_CHECKING:
    from rlbridge.server.http_server import HttpServer

DEFAULT_BIND = "grpc://127.0.0.1:50051"

_SCHEMES = ("grpc", "grpcs", "http", "https")


class BindRefused(ValueError):
    """The address is malformed, of an unknown scheme, or open to the network without protection."""


class Server:
    """A running server. Use it in a ``with`` statement, or call ``stop``.

    Attributes:
        urls: what clients connect to, with the real port numbers, in the order of the binds.
        host: the sessions.
    """

    def __init__(self, host: Host, binds: Sequence[str], tokens: Tokens, tls: ServerTls | None, insecure: bool) -> None:
        self.host = host
        self.urls: list[str] = []
        self._tokens, self._tls = tokens, tls
        self._grpc = GrpcServer(host, tokens)
        self._http: HttpServer | None = None
        self._shm = ShmServer(host, tokens)
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._ended = True
        try:
            _require_use(tls, binds)
            for bind in binds:
                self.urls.append(self._bind(bind, insecure))
            self._grpc.start()
            if self._http is not None:
                self._http.start()
            self._shm.start()
        except BaseException:
            self.stop(0.0)
            raise

    def _bind(self, bind: str, insecure: bool) -> str:
        try:
            parts = urlsplit(bind)
            port = parts.port
        except ValueError as error:
            raise BindRefused(f"--bind {bind!r}: {error}") from error
        if parts.scheme == "unix" and parts.path:
            self._grpc.bind_unix(parts.path)
            return bind
        if parts.scheme == "shm" and parts.path and not parts.netloc:
            try:
                self._shm.bind(unquote(parts.path))
            except NotSupported as error:
                raise BindRefused(f"--bind {bind!r}: {error}") from error
            return bind
        if parts.scheme not in _SCHEMES or not parts.hostname or port is None or parts.path.strip("/"):
            raise BindRefused(
                f"--bind {bind!r}: expected grpc://HOST:PORT or http://HOST:PORT (0 for a free port), grpcs://, "
                "https://, unix:///PATH or shm:///PATH"
            )
        secure = parts.scheme.endswith("s")
        if secure and self._tls is None:
            raise BindRefused(f"--bind {bind!r} needs --tls-cert and --tls-key")
        if not insecure and not _is_loopback(parts.hostname) and not (secure and self._tokens):
            raise BindRefused(
                f"--bind {bind!r} can be reached from other machines, but not with both encryption and a token. Use "
                "grpcs:// or https:// with --tls-cert, --tls-key and --token-file; or bind to 127.0.0.1 and tunnel; or "
                "pass --insecure if the network itself is trusted."
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        tls = self._tls if secure else None
        if parts.scheme.startswith("grpc"):
            bound = self._grpc.bind_tcp(parts.hostname, port, tls)
        else:
            self._http = self._http or _http_server(self.host, self._tokens)
            bound = self._http.bind(parts.hostname, port, tls)
        return f"{parts.scheme}://{host}:{bound}"

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the server has stopped (True) or ``timeout`` seconds have passed (False)."""
        return self._stopped.wait(timeout)

    def stop(self, grace: float = 1.0) -> bool:
        """Let requests under way finish (5 s for all together), close every session and stop. Idempotent.

        Args:
            grace: seconds that the transports have to send the last answers.

        Returns:
            Whether everything ended; False where an environment hangs: its thread is left behind.
        """
        with self._stopping:
            if not self._stopped.is_set():
                self._ended = self.host.stop()
                if self._http is not None:
                    self._http.stop(grace)
                self._shm.stop(grace)
                self._grpc.stop(grace)
                self._stopped.set()
            return self._ended

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _http_server(host: Host, tokens: Tokens) -> HttpServer:
    with _naming_the_extra("serving http:// and https:// needs"):
        from rlbridge.server.http_server import HttpServer
    return HttpServer(host, tokens)


@contextlib.contextmanager
def _naming_the_extra(what: str) -> Iterator[None]:
    """Say how to get a package that an import within did not find."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in ("starlette", "uvicorn", "websockets", "prometheus_client"):
            raise
        command = "pip install 'rlbridge-toolkit[http]'"
        raise ModuleNotFoundError(f"{what} the package {package}: {command}", name=package) from error


def _require_use(tls: ServerTls | None, binds: Sequence[str]) -> None:
    """Refuse TLS files that no bind uses: who gives them believes that something is encrypted."""
    if tls is not None and not any(urlsplit(bind).scheme in ("grpcs", "https") for bind in binds):
        raise BindRefused(
            f"a TLS certificate is given, but {', '.join(binds)} is not encrypted: bind to grpcs:// or https://"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    env: str | Sequence[Offer],
    bind: str | Sequence[str] = DEFAULT_BIND,
    *,
    limits: ServerLimits | None = None,
    action_bounds: ActionBounds | None = None,
    tokens: Tokens | str | None = None,
    tls: ServerTls | None = None,
    insecure: bool = False,
    metrics: bool = False,
    record: str | Path | None = None,
) -> Server:
    """Serve environments; returns at once, with the server answering.

    Args:
        env: a Gymnasium id, ``module:factory``, a serve.yaml, a folder that holds one, or offers made in Python.
        bind: ``grpc://HOST:PORT`` or ``http://HOST:PORT`` (0 for a free port), ``grpcs://``, ``https://``,
            ``unix:///PATH``, ``shm:///PATH`` (shared memory, Linux), or several of them.
        limits: sessions, message size, lease and so on.
        action_bounds: what happens to numbers outside a Box action space: ``refuse`` (default), ``clip``, ``ignore``.
        tokens: who may call, or the path of a token file; None: everybody who can reach the server.
        tls: for binds with ``grpcs://`` and ``https://``.
        metrics: count what happens, on both transports, and tell it Prometheus at ``/metrics`` of the http binds.
        record: a folder; every session leaves a recording in a folder of its own in there.
        insecure: allow binds that other machines can reach without both TLS and a token.

    Raises:
        UnknownFactory: the name leads to no environment.
        RemoteEnvError: the environment could not be made.
        BindRefused, PortTaken, AuthFileError: the address cannot be served.
        ModuleNotFoundError: http was asked for and its packages are not installed; names the command.

    Example:
        >>> with serve("CartPole-v1", bind="grpc://127.0.0.1:0") as server:
        ...     server.urls[0].startswith("grpc://127.0.0.1:")
        True
    """
    offers = load_catalog(env, action_bounds) if isinstance(env, str) else list(env)
    if record is not None:
        offers = [replace(offer, record=Path(record)) for offer in offers]
    binds = [bind] if isinstance(bind, str) else list(bind)
    if not isinstance(tokens, Tokens):
        tokens = Tokens.load(tokens) if tokens else Tokens()
    if metrics and not any(bind.startswith("http") for bind in binds):
        raise BindRefused("metrics are read over HTTP: add a bind with http:// or https://")
    host = _measured_host(offers, limits) if metrics else Host(offers, limits)
    return Server(host, binds, tokens, tls, insecure)


def _measured_host(offers: Sequence[Offer], limits: ServerLimits | None) -> Host:
    with _naming_the_extra("metrics need"):
        from rlbridge.server.metrics import MeasuredHost
    return MeasuredHost(offers, limits)
