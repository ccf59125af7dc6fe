"""The proxy keeps its own books: the tests about leaks believe them."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.fixture
def link(listener, proxied):
    """A proxy, and the two ends of a connection through it."""
    proxy = proxied(f"grpc://127.0.0.1:{listener.getsockname()[1]}")
    address = proxy.url.removeprefix("grpc://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=20) as client:
        client.sendall(b"hello")
        server, _ = listener.accept()
        with server:
            server.settimeout(20)
            assert server.recv(5) == b"hello"
            yield proxy, client, server


def connections_left(proxy) -> int:
    """Open ones, once the proxy has looked at what happened before: its loop may see a question first."""
    for _ in range(1_000):
        if not (count := proxy.counters()["open"]):
            return 0
    return count


@pytest.mark.parametrize("first", [0, 1], ids=["client-first", "server-first"])
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_swallowed_connection_is_over_when_both_sides_have_gone(link, first, half_closed):
    """Also where one of them had said so before everything was swallowed."""
    proxy, *ends = link
    if half_closed:
        ends[first].shutdown(socket.SHUT_WR)
        assert ends[1 - first].recv(1) == b"", "the end was passed on"
    proxy.swallow()
    ends[first].close()
    assert proxy.counters()["open"] == 1
    ends[1 - first].close()
    assert connections_left(proxy) == 0
