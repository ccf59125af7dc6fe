"""``serve``: from an environment's name to a running server."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from types import TracebackType
from urllib.parse import urlsplit

from rlbridge.server.actions import ActionBounds
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

    def __init__(self, host: Host, binds: Sequence[str], insecure: bool) -> None:
        self.host = host
        self.urls: list[str] = []
        self._grpc = GrpcServer(host)
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
        if parts.scheme != "grpc" or not parts.hostname or port is None or parts.path.strip("/"):
            raise BindRefused(f"--bind {bind!r}: expected grpc://HOST:PORT (0 for a free port) or unix:///PATH")
        if not insecure and not _is_loopback(parts.hostname):
            raise BindRefused(
                f"--bind {bind!r} can be reached from other machines, without encryption or a token. Bind to "
                "127.0.0.1 and tunnel, or pass --insecure if the network itself is trusted."
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"grpc://{host}:{self._grpc.bind_tcp(parts.hostname, port)}"

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
    insecure: bool = False,
) -> Server:
    """Serve environments; returns at once, with the server answering.

    Args:
        env: a Gymnasium id, ``module:factory``, a serve.yaml, a folder that holds one, or offers made in Python.
        bind: ``grpc://HOST:PORT`` (0 for a free port), ``unix:///PATH``, or several of them.
        limits: sessions, message size, lease and so on.
        action_bounds: what happens to numbers outside a Box action space: ``refuse`` (default), ``clip``, ``ignore``.
        insecure: allow binds that other machines can reach.

    Raises:
        UnknownFactory: the name leads to no environment.
        RemoteEnvError: the environment could not be made.
        BindRefused, PortTaken: the address cannot be served.

    Example:
        >>> with serve("CartPole-v1", bind="grpc://127.0.0.1:0") as server:
        ...     server.urls[0].startswith("grpc://127.0.0.1:")
        True
    """
    offers = load_catalog(env, action_bounds) if isinstance(env, str) else list(env)
    binds = [bind] if isinstance(bind, str) else list(bind)
    return Server(Host(offers, limits), binds, insecure)
