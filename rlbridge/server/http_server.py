"""Listens for HTTP and WebSocket connections, and gives each a thread and an event loop of its own.

The application is ASGI and the parsing is uvicorn's; only who runs it is different. With one loop for all, every step
of an environment would have to be handed to another thread and its answer handed back, or a slow environment would
stall its neighbours. With a loop a connection, a step runs where its request arrived, and blocks nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.protocol import State

from rlbridge.server.auth import ServerTls, Tokens
from rlbridge.server.grpc_server import PortTaken
from rlbridge.server.host import Host
from rlbridge.server.http_app import HttpApp
from rlbridge.server.http_websocket import ANSWER_AT_ONCE
from rlbridge.wire.busy_wait import LONGEST, BusyWait

log = logging.getLogger("rlbridge.server")

_IDLE_SECONDS = 75.0  # of a connection that has asked nothing, or is not done asking; a shorter lease takes its place
_HANDSHAKE_SECONDS = 10.0
_HEADER_BYTES = 32 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"too many connections are open here; try again later\n"
)


class HttpServer:
    """Serves a host over HTTP.

    Connections: a client of this library holds two for a session, and a new one may come before the old one is known
    to be dead; hence four for every session that may be, and some. One beyond that is answered 503 at once.
    """

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._app = HttpApp(host, tokens)
        self._alone = lambda: host.alone
        self._config = Config(
            self._app,
            http=_Http,
            ws=_WebSocket,
            ws_max_size=host.limits.max_message_bytes,
            ws_per_message_deflate=False,
            ws_ping_interval=None,  # a busy client answers no pings; dead ones are found by TCP and by their lease
            h11_max_incomplete_event_size=_HEADER_BYTES,
            # A client that lives renews its lease: who is silent for longer has no session, and is perhaps gone.
            timeout_keep_alive=max(1, int(min(_IDLE_SECONDS, host.limits.lease_seconds))),
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        self._config.load()
        self._places = threading.BoundedSemaphore(4 * host.limits.max_sessions + 16)
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._stopping = threading.Event()

    def bind(self, host: str, port: int, tls: ServerTls | None) -> int:
        """Listen on a TCP port, 0 for a free one; returns the port. Connections wait until ``start``.

        Raises:
            PortTaken: somebody else listens there, or the address is not this machine's.
            AuthFileError: a TLS file is missing or no PEM.
        """
        context = _context(tls) if tls else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections only, not listeners
            listener.bind((host, port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            reason = str(error.strerror or error).lower()
            raise PortTaken(
                f"cannot listen on {host}:{port}: {reason}. Take another port; 0 is any free one."
            ) from error
        self._listeners.append((listener, context))
        return int(listener.getsockname()[1])

    def start(self) -> None:
        """Answer from now on."""
        for listener, context in self._listeners:
            threading.Thread(target=self._accept, args=(listener, context), name="rlbridge-http", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Accept nothing more, give the requests under way ``grace`` seconds, end. Idempotent."""
        self._stopping.set()
        for listener, _ in self._listeners:
            _shut(listener)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.end()
        due = time.monotonic() + grace
        for connection in connections:
            connection.join(max(0.0, due - time.monotonic()))

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        while not self._stopping.is_set():
            try:
                peer, _ = listener.accept()
            except OSError as error:
                if self._stopping.wait(0.1):  # closed; else out of file descriptors, which passes
                    return
                log.warning("a connection could not be accepted: %s", error)
                continue
            if not self._places.acquire(blocking=False):
                _refuse(peer, context)
                continue
            connection = _Connection(self._config, peer, context, self._alone, self._left)
            with self._lock:
                self._connections.add(connection)
            if self._stopping.is_set():
                connection.end()
            connection.start()

    def _left(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        self._places.release()


class _Connection(threading.Thread):
    """One connection, for as long as it lasts."""

    def __init__(
        self,
        config: Config,
        peer: socket.socket,
        context: ssl.SSLContext | None,
        alone: Callable[[], bool],
        left: Callable[[_Connection], object],
    ) -> None:
        super().__init__(name="rlbridge-http-connection", daemon=True)
        self._config, self._peer, self._context, self._alone, self._left = config, peer, context, alone, left
        self._state = ServerState()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False

    def run(self) -> None:
        try:
            loop = asyncio.SelectorEventLoop(_Selector(self._alone))
            try:
                with self._lock:
                    self._loop = loop
                loop.run_until_complete(self._serve(loop))
            finally:
                with self._lock:
                    self._loop = None
                loop.close()
        except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:  # a peer that hung up, or speaks no TLS
            log.debug("a connection ended: %s", error)
        finally:
            self._peer.close()
            self._left(self)

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        ended = loop.create_future()
        state = {"ended": ended}
        options: dict[str, Any] = (
            {"ssl": self._context, "ssl_handshake_timeout": _HANDSHAKE_SECONDS} if self._context else {}
        )
        transport, _ = await loop.connect_accepted_socket(
            lambda: _Http(config=self._config, server_state=self._state, app_state=state, _loop=loop),
            self._peer,
            **options,
        )
        _watch_peer(transport.get_extra_info("socket"))
        if self._ending:
            self._shut_down()
        await ended
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_IDLE_SECONDS)

    def end(self) -> None:
        """Close the connection once the request under way, if any, has been answered. Any thread may call."""
        with self._lock:
            self._ending = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._shut_down)

    def _shut_down(self) -> None:
        for protocol in list(self._state.connections):
            protocol.shutdown()


class _Selector(selectors.DefaultSelector):
    """Looks for what comes before it sleeps, see BusyWait."""

    def __init__(self, alone: Callable[[], bool]) -> None:
        super().__init__()
        self._busy = BusyWait(alone)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout < LONGEST:  # there is something to do soon
            return super().select(timeout)
        events = self._busy.look(super().select) or super().select(timeout)
        self._busy.came()
        return events


class _Http(H11Protocol):
    """Ends its connection's thread with the connection, and those that never ask anything."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # uvicorn's own limit begins after the first answer only.
        self._silence = self.loop.call_later(self.timeout_keep_alive, self._silent)

    def _silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._silence.cancel()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._silence.cancel()
        super().connection_lost(exc)
        _ended(self.app_state)


class _WebSocket(WebSocketsSansIOProtocol):
    """Ends its connection's thread with the connection, and answers where messages arrive, where it is told how.

    Through ASGI, a message goes through a queue and a task, and reading stops and starts again for each.
    """

    _answer: Callable[[bytes], bytes] | None = None

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: Any = self.scope["extensions"]
            extensions[ANSWER_AT_ONCE] = functools.partial(setattr, self, "_answer")

    def send_receive_event_to_app(self) -> None:
        behind = self.read_paused or self.close_sent or not self.writable.is_set()
        if self._answer is None or self.curr_msg_data_type == "text" or behind:
            super().send_receive_event_to_app()
            return
        message, self.frames = b"".join(self.frames), []
        answer = self._answer(message)
        if self.conn.state is State.OPEN:  # else the client is gone, and its answer is kept
            self.conn.send_binary(answer)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except InvalidState:  # the client is closing it at this very moment
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _ended(self.app_state)


def _ended(state: dict[str, Any]) -> None:
    if not state["ended"].done():
        state["ended"].set_result(None)


def _watch_peer(peer: Any) -> None:
    """Have the kernel find out about peers that are gone without a word."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


def _refuse(peer: socket.socket, context: ssl.SSLContext | None) -> None:
    with peer:
        if context is None:
            try:
                peer.settimeout(0.1)
                peer.sendall(_FULL)
            except OSError:
                pass


def _shut(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
    listener.close()


def _context(tls: ServerTls) -> ssl.SSLContext:
    tls.read()  # says which file is wrong, which ssl does not
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.client_ca)
    return context
