"""The sockets of a connection that a library made."""

import os
import socket

import pytest

from rlbridge.client.connections import connections


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(listener):
    return f"localhost:{listener.getsockname()[1]}"


def test_those_to_the_port_are_found_and_no_others(listener):
    assert connections(address(listener)) == []
    with (
        socket.create_connection(listener.getsockname()) as ours,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(other.getsockname()),
    ):
        assert connections(address(listener)) == [ours.fileno()]
    assert connections(address(listener)) == []


def test_looking_leaves_what_is_open_as_it_is(listener):
    with socket.create_connection(listener.getsockname()) as ours:
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(3):
            connections(address(listener))
        assert sorted(os.listdir("/proc/self/fd")) == before
        assert ours.getpeername() == listener.getsockname()


def test_a_unix_socket_is_found(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as ours:
        listener.bind(path)
        listener.listen(1)
        ours.connect(path)
        assert connections(f"unix:{path}") == [ours.fileno()]
        assert connections(f"unix:{path}2") == []


def test_nobody_elses_sockets_are_changed_where_sockets_have_a_default_time(listener, monkeypatch):
    with socket.create_connection(listener.getsockname()) as ours:
        assert connections(address(listener)) == [ours.fileno()]
        socket.setdefaulttimeout(5.0)
        try:
            assert connections(address(listener)) == []
        finally:
            socket.setdefaulttimeout(None)
        assert ours.getblocking()
