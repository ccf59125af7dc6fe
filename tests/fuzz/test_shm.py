"""The shared-memory face under malformed frames and messages: an answer or the end of the connection, nothing else.

``make fuzz`` runs many more inputs than the fast suite.
"""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbridge.wire.channel import HELLO_PREFIX, WITH_THE_HEADER, Channel, Kind
from tests.fuzz.mutations import EXCHANGES, METHODS, SEEDS, fuzzed, mutated

HELLO = b"".join(
    (struct.pack("<BBxxI", Kind.HELLO, 0, len(HELLO_PREFIX) + 8), HELLO_PREFIX, b"Describe")
)  # and then nothing more is a frame


@pytest.fixture
def server(fuzzed_server):
    return fuzzed_server("shm")


def connected(server) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(server.url.removeprefix("shm://"))
    return peer


@pytest.mark.timeout(3000)
def test_calls_always_answer_and_noise_ends_the_connection(server):
    @fuzzed
    @given(st.sampled_from(METHODS).flatmap(lambda method: st.tuples(st.just(method), mutated(SEEDS[method]))))
    def attack(case):
        method, data = case
        channel = Channel(connected(server), 2**20)
        channel.send(Kind.HELLO, HELLO_PREFIX + method.encode())
        channel.send(Kind.MESSAGE, data[: 2**20])
        assert channel.receive(20)[0] in (Kind.MESSAGE, Kind.ERROR)
        channel.close()
        server.tried()

    attack()

    @fuzzed
    @given(mutated([HELLO, HELLO * 3, HELLO + bytes(100)]))
    def shout(noise):
        with connected(server) as peer:
            try:
                peer.sendall(noise)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
        server.tried()

    shout()


@pytest.mark.timeout(3000)
def test_streams_always_answer_through_the_socket_and_through_the_memory(server):
    @fuzzed
    @given(st.lists(mutated(EXCHANGES), min_size=1, max_size=2), st.booleans())
    def attack(messages, padded):
        channel = Channel(connected(server), 2**20)
        channel.send(Kind.HELLO, HELLO_PREFIX + b"Exchange")
        assert channel.take_memory(20)[0] == Kind.MEMORY
        for message in messages:  # an unknown field makes it large
            filling = b"\xfa\x7f\x80\x80\x02" + bytes(2 * WITH_THE_HEADER) if padded else b""
            channel.send(Kind.MESSAGE, (message + filling)[: 2**20])
            assert channel.receive(20)[0] == Kind.MESSAGE
        channel.close()
        server.tried()

    attack()
