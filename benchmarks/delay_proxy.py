"""Distance for benchmarks and tests: a TCP proxy that delays, and does nothing else.

    python benchmarks/delay_proxy.py grpc://127.0.0.1:50051 --round-trip-ms 20

Every piece is passed on half a round trip after it came, in both directions. Any number of bytes may be on the way, so
bandwidth is not limited. Prints ``serving <url>`` with the port that the kernel picked; ends when its stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

_CONTROL_SECONDS = 10.0
_PIECE = 1 << 18


class DelayProxy:
    """A proxy in a process of its own. Use it in a ``with`` statement.

    Args:
        target: a URL with host and port; anything over TCP.
        round_trip_ms: what the proxy adds to every round trip.

    Attributes:
        url: the target's, with the proxy's port.

    Example:
        >>> import socket
        >>> with socket.create_server(("127.0.0.1", 0)) as server:
        ...     with DelayProxy(f"grpc://127.0.0.1:{server.getsockname()[1]}/name", 20) as proxy:
        ...         proxy.url.startswith("grpc://127.0.0.1:"), proxy.url.endswith("/name")
        (True, True)
    """

    def __init__(self, target: str, round_trip_ms: float) -> None:
        self._command = [sys.executable, str(Path(__file__)), target, "--round-trip-ms", str(round_trip_ms)]

    def __enter__(self) -> DelayProxy:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # ends at the latest with the process
        if not line.startswith("serving "):
            self.__exit__(None, None, None)
            raise RuntimeError("the delay proxy did not start: see above")
        self.url = line.split()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_CONTROL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_CONTROL_SECONDS)
        self._process.stdout.close()


# ------------------------------------------------------------------------------------------------- in its own process


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Write what is read, each piece ``delay`` seconds later, and then the end."""
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(_PIECE):
            loop.call_later(delay, writer.write, data)  # timers fire in the order of their times
    except ConnectionError:
        pass
    ended = loop.create_future()
    loop.call_later(delay, ended.set_result, None)
    await ended
    with contextlib.suppress(OSError, RuntimeError):  # gone meanwhile
        writer.write_eof()


async def _serve(target: str, delay: float) -> None:
    parts = urlsplit(target)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            there, to_there = await asyncio.open_connection(parts.hostname, parts.port)
            with contextlib.closing(to_there):
                await asyncio.gather(_pass_on(reader, to_there, delay), _pass_on(there, writer, delay))

    server = await asyncio.start_server(connection, parts.hostname, 0)
    port = server.sockets[0].getsockname()[1]
    print("serving", parts._replace(netloc=f"{parts.hostname}:{port}").geturl(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="SCHEME://HOST:PORT[/...]")
    parser.add_argument("--round-trip-ms", type=float, required=True)
    arguments = parser.parse_args()
    # epoll would round every wait up to a whole millisecond; select takes microseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(arguments.target, arguments.round_trip_ms / 2000))


if __name__ == "__main__":
    main()
