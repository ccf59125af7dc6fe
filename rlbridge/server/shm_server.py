"""The shared-memory face of a host, for clients on the same machine: frames as in ``rlbridge.wire.channel``.

Each connection has a thread of its own, and that thread executes its steps: nothing is handed over inside the server.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import stat
import struct
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from rlbridge.server.auth import Tokens
from rlbridge.server.exchange import Exchange
from rlbridge.server.failure import FAILURES
from rlbridge.server.grpc_server import PortTaken
from rlbridge.server.host import Host
from rlbridge.server.session import Request, error_response
from rlbridge.server.unix_socket import answers
from rlbridge.v1 import env_pb2
from rlbridge.wire.busy_wait import BusyWait
from rlbridge.wire.channel import HELLO_PREFIX, WITH_THE_HEADER, BadFrame, Channel, Kind, supported
from rlbridge.wire.errors import BridgeError, CapacityExhausted, Unimplemented, WireError, decode_error, encode_error

log = logging.getLogger("rlbridge.server")


class NotSupported(OSError):
    """This system has no memory of the kind needed; the message says what to use instead."""


class ShmServer:
    """Serves a host over unix sockets and shared memory.

    A stream holds a connection and its thread for as long as it is open, so there are two for every session that may be
    (a new stream may come before the old one is known to be dead) and some for the other calls. A connection beyond
    that is refused at once.
    """

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._host = host
        self._calls = _Calls(host, tokens)
        self._most = 2 * host.limits.max_sessions + 16
        self._listeners: dict[socket.socket, tuple[str, int]] = {}  # with the path and its inode
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._stopping = threading.Event()

    def bind(self, path: str) -> None:
        """Listen on a unix socket that only this user may use; a stale file of a dead server is replaced.

        Connections wait until ``start``.

        Raises:
            PortTaken: a server answers there, something else has that name, or the folder is missing.
            NotSupported: this is not Linux.
        """
        if not supported():
            raise NotSupported("shm:// needs Linux; on this system, serve unix:///PATH or grpc://127.0.0.1:0")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if os.path.exists(path):
                if not stat.S_ISSOCK(os.stat(path).st_mode):
                    raise PortTaken(f"cannot listen on {path}: that is no socket, and it is not replaced")
                if answers(path):
                    raise PortTaken(f"cannot listen on {path}: another server answers there")
                os.unlink(path)
            listener.bind(path)
            os.chmod(path, 0o600)  # nobody can connect before listen()
            listener.listen(128)
            self._listeners[listener] = path, os.stat(path).st_ino
        except BaseException as error:
            listener.close()
            if isinstance(error, OSError) and not isinstance(error, PortTaken):
                raise PortTaken(f"cannot listen on {path}: {str(error.strerror or error).lower()}") from error
            raise

    def start(self) -> None:
        """Answer from now on."""
        if self._listeners:
            os.register_at_fork(after_in_child=functools.partial(_let_go, weakref.ref(self)))
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), name="rlbridge-shm", daemon=True).start()

    def stop(self, grace: float) -> None:
        """Accept nothing more, give the requests under way ``grace`` seconds, end. Idempotent."""
        self._stopping.set()
        for listener, (path, inode) in self._listeners.items():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:  # another server may have taken the path since
                    os.unlink(path)
        self._listeners.clear()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.channel.hang_up(socket.SHUT_RD)  # as if the client had no more to ask
        due = time.monotonic() + grace
        for connection in connections:
            connection.join(max(0.0, due - time.monotonic()))
            connection.channel.hang_up()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                peer, _ = listener.accept()
            except OSError as error:
                if self._stopping.wait(0.1):  # closed; else out of file descriptors, which passes
                    return
                log.warning("a connection could not be accepted: %s", error)
                continue
            with self._lock:
                full = len(self._connections) >= self._most
                if not full:
                    connection = _Connection(self._calls, peer, self._host.limits.silent_seconds, self._left)
                    self._connections.add(connection)
            if full:
                _refuse(peer, self._most)
                continue
            if self._stopping.is_set():
                connection.channel.hang_up()
            connection.start()

    def _left(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)


def _let_go(server: weakref.ref[ShmServer]) -> None:
    """In a fork, such as an environment's worker: what it keeps open would hide the server's death from everybody."""
    if (forked := server()) is not None:
        for listener in forked._listeners:
            listener.close()
        for connection in forked._connections:
            connection.channel.let_go()


class _Calls:
    """What may be called, by whom."""

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self.host = host
        self._tokens = tokens
        self._types: dict[str, tuple[Any, Callable[[Any, str], Any]]] = {
            "Describe": (env_pb2.DescribeRequest, lambda request, caller: host.describe(request)),
            "Spaces": (env_pb2.SpacesRequest, lambda request, caller: host.spaces(request)),
            "Open": (env_pb2.OpenRequest, host.open),
            "Resume": (env_pb2.ResumeRequest, lambda request, caller: host.resume(request)),
            "KeepAlive": (env_pb2.KeepAliveRequest, lambda request, caller: host.keep_alive(request)),
            "Close": (env_pb2.CloseRequest, lambda request, caller: host.close(request)),
            "Reset": (env_pb2.ResetRequest, lambda request, caller: self._one(Request(reset=request)).reset),
            "Step": (env_pb2.StepRequest, lambda request, caller: self._one(Request(step=request)).step),
            "Render": (env_pb2.RenderRequest, lambda request, caller: self._one(Request(render=request)).render),
            "Rollout": (env_pb2.RolloutRequest, lambda request, caller: self._one(Request(rollout=request)).rollout),
        }

    def _one(self, request: Request) -> Any:
        response = self.host.execute(request)
        if response.HasField("error"):
            raise decode_error(response.error)
        return response

    def admit(self, hello: bytes) -> str:
        """The call that a connection is for.

        Raises:
            BadFrame: that is no greeting.
            Unauthenticated, PermissionDenied: see ``Tokens.check``.
            Unimplemented: there is no such call.
        """
        name, _, authorization = hello.removeprefix(HELLO_PREFIX).decode(errors="replace").partition("\n")
        if not hello.startswith(HELLO_PREFIX):
            raise BadFrame("the connection does not begin as rlbridge's do")
        self._tokens.check(authorization or None, name)
        if name not in self._types and name != "Exchange":
            raise Unimplemented(f"this server does not have {name[:100]!r}; Describe tells its capabilities")
        return name

    def answer(self, name: str, data: bytes, caller: str) -> bytes:
        """The serialised answer to one call.

        Raises:
            BridgeError: the host's refusal, or bytes that are no request.
        """
        request_type, call = self._types[name]
        try:
            request = request_type.FromString(data)
        except FAILURES as error:
            raise WireError(f"a request of {len(data)} bytes cannot be parsed: {str(error)[:300]}") from error
        answer: bytes = call(request, caller).SerializeToString()
        return answer


class _Connection(threading.Thread):
    """One connection, for as long as it lasts."""

    def __init__(
        self, calls: _Calls, peer: socket.socket, patience: float, left: Callable[[_Connection], object]
    ) -> None:
        super().__init__(name="rlbridge-shm-connection", daemon=True)
        self._calls, self._patience, self._left = calls, patience, left
        self._caller = _caller(peer)
        self.channel = Channel(peer, WITH_THE_HEADER)  # for the greeting

    def run(self) -> None:
        try:
            self._serve()
        except BridgeError as error:  # before OSError, which some of them are as well
            self._refuse(error)
        except OSError as error:  # hung up, or silent for too long
            log.debug("a connection ended: %s", error)
        except FAILURES as error:
            log.exception("a call failed inside the server")
            self._refuse(BridgeError(f"the server failed: {type(error).__name__}: {error}"))
        finally:
            self.channel.close()
            self._left(self)

    def _refuse(self, error: BridgeError) -> None:
        """Say why the connection ends."""
        with contextlib.suppress(OSError):
            self.channel.send(Kind.ERROR, encode_error(error).SerializeToString())

    def _serve(self) -> None:
        kind, hello = self.channel.receive(self._patience)
        if kind != Kind.HELLO:
            raise BadFrame("the connection does not begin as rlbridge's do")
        call = self._calls.admit(bytes(hello))
        self.channel.limit = self._calls.host.limits.max_message_bytes
        if call == "Exchange":
            self._stream()
            return
        while True:
            request = self._request(self._patience)
            try:
                self.channel.send(Kind.MESSAGE, self._calls.answer(call, request, self._caller))
            except BridgeError as error:
                self._refuse(error)

    def _request(self, timeout: float | None) -> bytes:
        kind, data = self.channel.receive(timeout)
        if kind != Kind.MESSAGE:
            raise BadFrame(f"a frame of kind {kind} came where a request is expected")
        # Taken out of the shared memory before it is parsed: what its reader has checked must not change any more.
        return bytes(data)

    def _stream(self) -> None:
        self.channel.offer_memory()
        self.channel.look_first(BusyWait(lambda: self._calls.host.alone))
        exchange = self._calls.host.exchange(self.channel.hang_up)
        try:
            while True:
                self.channel.send(Kind.MESSAGE, _answered(exchange, self._request(None)))
        finally:
            exchange.close()


def _answered(exchange: Exchange, data: bytes) -> bytes:
    try:
        request = Request.FromString(data)
    except FAILURES as error:
        refusal = WireError(f"a message of {len(data)} bytes is no ExchangeRequest: {str(error)[:300]}")
        return error_response(refusal, 0).SerializeToString()
    return exchange.execute(request).SerializeToString()


def _refuse(peer: socket.socket, most: int) -> None:
    full = CapacityExhausted(f"the server has {most} connections, as many as it takes. Try again later.", limit=most)
    channel = Channel(peer, WITH_THE_HEADER)
    with contextlib.suppress(OSError):
        channel.send(Kind.ERROR, encode_error(full).SerializeToString())
    channel.close()


def _caller(peer: socket.socket) -> str:
    """Who is at the other end, as the kernel knows them (unix(7), SO_PEERCRED)."""
    credentials = struct.Struct("3i")  # process, user, group
    _, user, _ = credentials.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return f"user {user} of this machine"
