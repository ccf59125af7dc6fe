"""The gRPC face under malformed, truncated, oversized and nested messages: always an answer, nothing else.

``make fuzz`` runs 100,000 inputs, the fast suite a few hundred a door.
"""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import EXCHANGES, METHODS, SEEDS, fuzzed, mutated, varint

NO_ANSWER = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@pytest.fixture
def target(fuzzed_server):
    return fuzzed_server("grpc")


def refuse_silence(error: grpc.RpcError) -> None:
    """An error is an answer; these codes are what silence looks like."""
    assert error.code() not in NO_ANSWER, error


def raw(value: bytes) -> bytes:
    return value


@pytest.mark.timeout(3000)
def test_unary_calls_always_answer(target):
    with grpc.insecure_channel(target.removeprefix("grpc://")) as channel:
        calls = {method: channel.unary_unary(f"/rlbridge.v1.EnvService/{method}", raw, raw) for method in METHODS}

        @fuzzed
        @given(st.sampled_from(METHODS).flatmap(lambda method: st.tuples(st.just(method), mutated(SEEDS[method]))))
        def attack(case):
            method, data = case
            try:
                calls[method](data, timeout=20)
            except grpc.RpcError as error:
                refuse_silence(error)

        attack()


@pytest.mark.timeout(3000)
def test_streams_always_answer(target):
    with grpc.insecure_channel(target.removeprefix("grpc://")) as channel:
        exchange = channel.stream_stream("/rlbridge.v1.EnvService/Exchange", raw, raw)

        @fuzzed
        @given(st.lists(mutated(EXCHANGES), min_size=1, max_size=4))
        def attack(frames):
            try:
                answers = list(exchange(iter(frames), timeout=20))
                assert len(answers) == len(frames)
            except grpc.RpcError as error:  # what cannot be parsed ends the stream
                refuse_silence(error)

        attack()


def test_a_message_beyond_the_limit_is_refused(target):
    with grpc.insecure_channel(target.removeprefix("grpc://")) as channel:
        call = channel.unary_unary("/rlbridge.v1.EnvService/Reset", raw, raw)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"\x32" + varint(3_000_000) + bytes(3_000_000), timeout=20)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
