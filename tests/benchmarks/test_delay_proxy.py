"""The delay proxy delays every piece by half a round trip, and changes, reorders and limits nothing."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from delay_proxy import DelayProxy

SIZE = 3_000_000


@pytest.fixture
def echo():
    """The URL of a server that gives every byte back, and then its end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"grpc://127.0.0.1:{listener.getsockname()[1]}/name"
    listener.close()
    thread.join(10)


def _connected(url: str) -> socket.socket:
    port = int(url.split(":")[2].split("/")[0])
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_a_round_trip_takes_at_least_the_delay(echo):
    with DelayProxy(echo, 40) as proxy, _connected(proxy.url) as client:
        assert proxy.url.endswith("/name")
        for message in (b"one", b"two"):
            started = time.perf_counter()
            client.sendall(message)
            assert client.recv(100) == message
            assert time.perf_counter() - started >= 0.040


def test_bytes_come_whole_and_in_order_and_then_the_end(echo):
    sent = bytes(i * 31 % 251 for i in range(SIZE))
    with DelayProxy(echo, 4) as proxy, _connected(proxy.url) as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        received = bytearray()
        while data := client.recv(1 << 16):
            received += data
        sending.join(10)
    assert bytes(received) == sent


def test_what_listens_nowhere_is_a_closed_connection():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with DelayProxy(f"grpc://127.0.0.1:{port}", 1) as proxy, _connected(proxy.url) as client:
        assert client.recv(1) == b""
