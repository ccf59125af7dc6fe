"""The gRPC face under malformed, truncated, oversized and nested messages: always an answer, nothing else.

``make fuzz`` runs 100,000 inputs, the fast suite a few hundred a door.
"""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import EXCHANGES, METHODS, SEEDS, fuzzed, mutated, varint

NO_ANSWER = {
    getattr(grpc.StatusCode, name) for name in ("DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN")
}


@pytest.fixture
def server(fuzzed_server):
    return fuzzed_server("grpc")


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        yield channel


def refuse_silence(error: grpc.RpcError) -> None:
    """An error is an answer; these codes are what silence looks like, or a server's own mistake."""
    assert error.code() not in NO_ANSWER, error


def raw(value: bytes) -> bytes:
    return value


@pytest.mark.timeout(3000)
def test_unary_calls_always_answer(server, channel):
    calls = {method: channel.unary_unary(f"/rlbridge.v1.EnvService/{method}", raw, raw) for method in METHODS}

    @fuzzed
    @given(st.sampled_from(METHODS).flatmap(lambda method: st.tuples(st.just(method), mutated(SEEDS[method]))))
    def attack(case):
        method, data = case
        try:
            calls[method](data, timeout=20)
        except grpc.RpcError as error:
            refuse_silence(error)
        server.tried()

    attack()


@pytest.mark.timeout(3000)
def test_streams_always_answer(server, channel):
    exchange = channel.stream_stream("/rlbridge.v1.EnvService/Exchange", raw, raw)

    @fuzzed
    @given(st.lists(mutated(EXCHANGES), min_size=1, max_size=4))
    def attack(frames):
        try:
            answers = list(exchange(iter(frames), timeout=20))
            assert len(answers) == len(frames)
        except grpc.RpcError as error:  # what cannot be parsed ends the stream
            refuse_silence(error)
        server.tried()

    attack()


def test_a_message_beyond_the_limit_is_refused(channel):
    call = channel.unary_unary("/rlbridge.v1.EnvService/Reset", raw, raw)
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\x32" + varint(3_000_000) + bytes(3_000_000), timeout=20)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
