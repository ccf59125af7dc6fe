"""A bad network for the tests: a TCP proxy that cuts, holds, trickles and swallows, decided by a seed and by bytes.

It runs in a process of its own, so that it takes nothing from the two it stands between. It knows no protocol: a fault
falls after a drawn number of forwarded bytes, so in the middle of a message as often as between two.
"""

from __future__ import annotations

import contextlib
import json
import random
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
_CONTROL_SECONDS = 10.0
_BUFFERED = 256 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Faults:
    """What goes wrong.

    Attributes:
        seed: of every draw.
        every: between two faults, a number of bytes drawn from this range, counted over all connections and both
            directions.
        kinds: drawn from evenly. ``rst`` and ``fin`` cut the connection, ``delay`` holds it, ``trickle`` lets its next
            bytes through one by one, ``swallow`` leaves it open and lets nothing through from now on.
        most: no more faults after that many.
        delay: seconds that ``delay`` holds.
        trickled: bytes that ``trickle`` lasts.
    """

    seed: int = 0
    every: tuple[int, int] = (1, 1 << 62)
    kinds: Sequence[str] = ("rst", "fin")
    most: int = 0
    delay: float = 0.02
    trickled: int = 300


class Proxy:
    """The handle to a proxy's process. Use it in a ``with`` statement.

    Args:
        target: a URL; what listens at its host and port is what is forwarded to.
        faults: None for none but those asked for by the methods below.

    Attributes:
        url: the target's, with the proxy's port.
    """

    def __init__(self, target: str, faults: Faults | None = None) -> None:
        self._parts = urlsplit(target)
        self._faults = faults or Faults()

    def __enter__(self) -> Proxy:
        here, there = socket.socketpair()
        here.settimeout(_CONTROL_SECONDS)
        settings = json.dumps({**asdict(self._faults), "target": [self._parts.hostname, self._parts.port]})
        command = [sys.executable, "-m", "tests.chaos.proxy", str(there.fileno()), settings]
        self._process = subprocess.Popen(command, pass_fds=[there.fileno()], cwd=ROOT)
        there.close()
        self._control, self._lines = here, here.makefile("r")
        try:
            port = json.loads(self._lines.readline())["port"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.url = self._parts._replace(netloc=f"{self._parts.hostname}:{port}").geturl()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._control.close()  # the process ends at that
        try:
            self._process.wait(_CONTROL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_CONTROL_SECONDS)

    def cut_all(self) -> None:
        """Reset every connection there is."""
        self._ask("cut_all")

    def swallow(self) -> None:
        """From now on nothing gets through, on old connections and new ones; all stay open."""
        self._ask("swallow")

    def heal(self) -> None:
        """New connections work again. Those that were swallowed never will, as their bytes are lost."""
        self._ask("heal")

    def counters(self) -> dict[str, int]:
        """``connections`` accepted so far, ``open`` ones, ``cuts``, all ``faults``, ``bytes`` forwarded."""
        return self._ask("counters")

    def _ask(self, what: str) -> dict[str, int]:
        self._control.sendall(f"{what}\n".encode())
        answer: dict[str, int] = json.loads(self._lines.readline())
        return answer


# ------------------------------------------------------------------------------------------------- in its own process


class _Side:
    """One socket of a connection, and what waits to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket: socket.socket | None = sock
        self.waiting = bytearray()
        self.ended = False  # it will send no more
        self.shut = False  # it was told that nothing more comes
        self.mask = 0


class _Connection:
    """Two sides with a fate."""

    def __init__(self, client: _Side, server: _Side) -> None:
        self.sides = (client, server)
        self.dead = False
        self.held_until = 0.0
        self.trickle = 0

    def other(self, side: _Side) -> _Side:
        return self.sides[1] if side is self.sides[0] else self.sides[0]


class _Relay:
    def __init__(self, control: socket.socket, target: tuple[str, int], faults: Faults) -> None:
        self._target, self._faults = target, faults
        self._random = random.Random(faults.seed)
        self._selector = selectors.DefaultSelector()
        self._connections: dict[_Connection, None] = {}  # ordered
        self._held: dict[_Connection, None] = {}
        self._swallowing = False
        self._count = dict.fromkeys(("connections", "cuts", "faults", "bytes"), 0)
        self._until_fault = self._draw()
        self._control, self._commands = control, b""
        self._listener = socket.create_server((target[0], 0), backlog=1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(control, selectors.EVENT_READ, self._obey)
        self._running = True
        self._tell({"port": self._listener.getsockname()[1]})

    def _draw(self) -> int:
        return self._random.randint(*self._faults.every) if self._count["faults"] < self._faults.most else 1 << 62

    def run(self) -> None:
        while self._running:
            for key, mask in self._selector.select(self._patience()):
                if isinstance(key.data, tuple):
                    self._move(*key.data, mask)
                else:
                    key.data()
            self._release()

    def _patience(self) -> float | None:
        if not self._held:
            return None
        return max(min(connection.held_until for connection in self._held) - time.monotonic(), 0.0)

    def _release(self) -> None:
        now = time.monotonic()
        for connection in [held for held in self._held if held.held_until <= now]:
            del self._held[connection]
            self._watch(connection)

    # ------------------------------------------------------------------------------------------------- control

    def _tell(self, answer: dict[str, int]) -> None:
        self._control.sendall(json.dumps(answer).encode() + b"\n")

    def _obey(self) -> None:
        data = self._control.recv(4096)
        if not data:
            self._running = False
            return
        *commands, self._commands = (self._commands + data).split(b"\n")
        for command in commands:
            if command == b"cut_all":
                for connection in list(self._connections):
                    self._cut(connection, reset=True)
            elif command == b"swallow":
                self._swallowing = True
                for connection in list(self._connections):
                    self._kill(connection)
            elif command == b"heal":
                self._swallowing = False
            self._tell({**self._count, "open": len(self._connections)})

    # --------------------------------------------------------------------------------------------- connections

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self._count["connections"] += 1
        server = socket.socket()
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(_Side(client), _Side(server))
        self._connections[connection] = None
        if self._swallowing:
            server.close()
            connection.sides[1].socket = None
            self._kill(connection)
            return
        server.connect_ex(self._target)  # under way; what it says is learned from the first read or write
        self._watch(connection)

    def _watch(self, connection: _Connection) -> None:
        """Ask the selector for what each side can do now."""
        held = connection in self._held
        for side in connection.sides:
            if side.socket is None:
                continue
            full = len(connection.other(side).waiting) > _BUFFERED
            wanted = 0 if held or side.ended or full else selectors.EVENT_READ
            if side.waiting and not held:
                wanted |= selectors.EVENT_WRITE
            if wanted == side.mask:
                continue
            if not side.mask:
                self._selector.register(side.socket, wanted, (connection, side))
            elif not wanted:
                self._selector.unregister(side.socket)
            else:
                self._selector.modify(side.socket, wanted, (connection, side))
            side.mask = wanted

    def _move(self, connection: _Connection, side: _Side, mask: int) -> None:
        if connection not in self._connections or side.socket is None:
            return
        try:
            if mask & selectors.EVENT_WRITE and side.waiting:
                self._write(side)
            if mask & selectors.EVENT_READ:
                size = 1 if connection.trickle else _CHUNK
                data = side.socket.recv(size)
                if connection.dead:
                    if not data:
                        self._forget_side(connection, side)
                    return
                self._forward(connection, side, data)
        except BlockingIOError:
            return
        except OSError:
            if connection.dead:  # the other side is to learn nothing of it
                self._forget_side(connection, side)
            else:
                self._close(connection, reset=True)
            return
        if connection in self._connections:
            self._watch(connection)

    def _write(self, side: _Side) -> None:
        assert side.socket is not None
        with contextlib.suppress(BlockingIOError):
            del side.waiting[: side.socket.send(side.waiting)]
        if side.shut and not side.waiting:
            side.socket.shutdown(socket.SHUT_WR)

    def _forward(self, connection: _Connection, side: _Side, data: bytes) -> None:
        other = connection.other(side)
        if not data:
            side.ended = other.shut = True
            self._write(other)
            if other.ended and not other.waiting and not side.waiting:
                self._close(connection, reset=False)
            return
        faulty = self._until_fault <= len(data)
        through, rest = (data[: self._until_fault], data[self._until_fault :]) if faulty else (data, b"")
        self._count["bytes"] += len(data)
        self._until_fault -= len(data)
        connection.trickle = max(connection.trickle - len(data), 0)
        other.waiting += through
        if not faulty:
            if other.mask & selectors.EVENT_WRITE == 0:
                self._write(other)
            return
        self._write(other)
        kind = self._random.choice(self._faults.kinds)
        self._count["faults"] += 1
        self._until_fault = self._draw()
        if kind in ("rst", "fin"):
            self._cut(connection, reset=kind == "rst")
        elif kind == "swallow":
            self._kill(connection)
        else:
            other.waiting += rest
            if kind == "trickle":
                connection.trickle = self._faults.trickled
            else:
                connection.held_until = time.monotonic() + self._faults.delay
                self._held[connection] = None

    def _cut(self, connection: _Connection, reset: bool) -> None:
        self._count["cuts"] += 1
        self._close(connection, reset)

    def _kill(self, connection: _Connection) -> None:
        """Swallow from now on."""
        connection.dead = True
        self._held.pop(connection, None)
        for side in connection.sides:
            side.waiting.clear()
        self._watch(connection)
        self._end_if_over(connection)

    def _close(self, connection: _Connection, reset: bool) -> None:
        for side in connection.sides:
            if side.socket is not None and reset:
                side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close_side(side)
        self._connections.pop(connection, None)
        self._held.pop(connection, None)

    def _forget_side(self, connection: _Connection, side: _Side) -> None:
        self._close_side(side)
        self._end_if_over(connection)

    def _end_if_over(self, connection: _Connection) -> None:
        """A side that had ended before all was swallowed says no second time that it is gone."""
        if all(side.socket is None or side.ended for side in connection.sides):
            self._close(connection, reset=False)

    def _close_side(self, side: _Side) -> None:
        if side.socket is None:
            return
        if side.mask:
            self._selector.unregister(side.socket)
            side.mask = 0
        side.socket.close()
        side.socket = None


def _main(control: int, settings: dict[str, Any]) -> None:
    host, port = settings.pop("target")
    _Relay(socket.socket(fileno=control), (host, port), Faults(**settings)).run()


if __name__ == "__main__":
    _main(int(sys.argv[1]), json.loads(sys.argv[2]))
