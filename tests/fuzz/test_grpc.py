"""The gRPC face under malformed, truncated, oversized and nested messages: always an answer, nothing else.

``make fuzz`` runs 100,000 inputs a face; the fast suite a few hundred.
"""

from __future__ import annotations

import os

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rlbridge
from tests.fuzz.mutations import METHODS, SEEDS, mutated

INPUTS = int(os.environ.get("FUZZ_INPUTS", "400"))
GROWTH_MIB = 200
NO_ANSWER = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
fuzzed = settings(
    max_examples=INPUTS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def resident_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


@pytest.fixture
def target(serve_process):
    """A server process; after the fuzzing it must still work, and have grown by no more than the bound."""
    limits = ["--max-message-mib", "1", "--max-envs", "8", "--lease", "1"]  # what was opened by luck goes soon
    process, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0", *limits)
    rlbridge.make(url).close()
    before = resident_mib(process.pid)
    yield url
    assert process.poll() is None, "the server is gone"
    env = rlbridge.make(url)
    env.reset(seed=0)
    env.step(0)
    env.close()
    assert resident_mib(process.pid) - before < GROWTH_MIB


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
        seeds = [
            bytes([tag]) + _varint(len(data)) + data  # an ExchangeRequest that holds the request
            for tag, method in ((0x0A, "Step"), (0x12, "Reset"), (0x1A, "Render"))
            for data in SEEDS[method]
        ]

        @fuzzed
        @given(st.lists(mutated(seeds), min_size=1, max_size=4))
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
            call(b"\x32" + _varint(3_000_000) + bytes(3_000_000), timeout=20)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])
