"""``serve``: from an environment's name to a running server."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from types import TracebackType
from urllib.parse import urlsplit

from rlbridge.server.actions import ActionBounds
from rlbridge.server.auth import ServerTls, Tokens
from rlbridge.server.catalog import Offer, load_catalog
from rlbridge.server.grpc_server import GrpcServer
from rlbridge.server.host import Host
from rlbridge.server.limits import ServerLimits

DEFAULT_BIND = "grpc://127.0.0.1:50051"


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
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        try:
            for bind in binds:
                self.urls.append(self._bind(bind, insecure))
            self._grpc.start()
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
        if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or port is None or parts.path.strip("/"):
            raise BindRefused(
                f"--bind {bind!r}: expected grpc://HOST:PORT (0 for a free port), grpcs://HOST:PORT or unix:///PATH"
            )
        secure = parts.scheme == "grpcs"
        if secure and self._tls is None:
            raise BindRefused(f"--bind {bind!r} needs --tls-cert and --tls-key")
        if not insecure and not _is_loopback(parts.hostname) and not (secure and self._tokens):
            raise BindRefused(
                f"--bind {bind!r} can be reached from other machines, but not with both encryption and a token. Use "
                "grpcs:// with --tls-cert, --tls-key and --token-file; or bind to 127.0.0.1 and tunnel; or pass "
                "--insecure if the network itself is trusted."
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        bound = self._grpc.bind_tcp(parts.hostname, port, self._tls if secure else None)
        return f"{parts.scheme}://{host}:{bound}"

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the server has stopped (True) or ``timeout`` seconds have passed (False)."""
        return self._stopped.wait(timeout)

    def stop(self, grace: float = 2.0) -> None:
        """Let requests under way finish, close every session and stop. Idempotent; ``grace`` in seconds."""
        with self._stopping:
            if not self._stopped.is_set():
                self.host.stop()
                self._grpc.stop(grace)
                self._stopped.set()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


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
) -> Server:
    """Serve environments; returns at once, with the server answering.

    Args:
        env: a Gymnasium id, ``module:factory``, a serve.yaml, a folder that holds one, or offers made in Python.
        bind: ``grpc://HOST:PORT`` (0 for a free port), ``grpcs://``, ``unix:///PATH``, or several of them.
        limits: sessions, message size, lease and so on.
        action_bounds: what happens to numbers outside a Box action space: ``refuse`` (default), ``clip``, ``ignore``.
        tokens: who may call, or the path of a token file; None: everybody who can reach the server.
        tls: for binds with ``grpcs://``.
        insecure: allow binds that other machines can reach without both TLS and a token.

    Raises:
        UnknownFactory: the name leads to no environment.
        RemoteEnvError: the environment could not be made.
        BindRefused, PortTaken, AuthFileError: the address cannot be served.

    Example:
        >>> with serve("CartPole-v1", bind="grpc://127.0.0.1:0") as server:
        ...     server.urls[0].startswith("grpc://127.0.0.1:")
        True
    """
    offers = load_catalog(env, action_bounds) if isinstance(env, str) else list(env)
    binds = [bind] if isinstance(bind, str) else list(bind)
    if not isinstance(tokens, Tokens):
        tokens = Tokens.load(tokens) if tokens else Tokens()
    return Server(Host(offers, limits), binds, tokens, tls, insecure)
