"""Bytes that are no message: gRPC's callers are told so, and the server forgets them."""

from __future__ import annotations

import gc
import threading

import grpc
import pytest
from grpc._server import _RPCState  # private: nothing else tells how many calls a server has not forgotten

from rlbridge.server.auth import Tokens
from rlbridge.v1 import env_pb2, env_pb2_grpc
from rlbridge.wire.errors import WireError, decode_error

GARBAGE = b"\xff" * 10
SERVICE = "/rlbridge.v1.EnvService"
CALLS = [
    f"{SERVICE}/Describe",
    f"{SERVICE}/Step",
    "/rlbridge.v1.RolloutService/Rollout",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
]
STREAMS = [
    f"{SERVICE}/Exchange",
    "/rlbridge.v1.RolloutService/PutPolicy",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]


@pytest.fixture
def channel(serve):
    with grpc.insecure_channel(serve("CartPole-v1").urls[0].removeprefix("grpc://")) as channel:
        yield channel


def refusal(channel: grpc.Channel, path: str) -> grpc.RpcError:
    """What garbage is answered, on any kind of call."""
    call = channel.stream_stream(path, None, None)
    with pytest.raises(grpc.RpcError) as raised:
        list(call(iter([GARBAGE]), timeout=20))
    return raised.value


def calls_remembered() -> int:
    """How many calls the servers of this process keep the state of."""
    gc.collect()
    return sum(type(thing) is _RPCState for thing in gc.get_objects())


@pytest.mark.parametrize("path", [*CALLS, *STREAMS[:1], *STREAMS[2:]])
def test_every_call_says_that_it_cannot_be_parsed(channel, path):
    error = refusal(channel, path)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("a request of 10 bytes cannot be parsed: ")
    trailer = env_pb2.Error.FromString(dict(error.trailing_metadata())["rlbridge-error-bin"])
    assert isinstance(decode_error(trailer), WireError)


@pytest.mark.parametrize("path", [*CALLS, *STREAMS])
def test_the_server_forgets_a_call_that_could_not_be_parsed(channel, path):
    before = calls_remembered()
    for _ in range(50):
        refusal(channel, path)
    for _ in range(100):  # a call's end is confirmed after its answer has come
        if calls_remembered() < before + 5:
            return
        threading.Event().wait(0.1)
    pytest.fail(f"the server still holds {calls_remembered() - before} of 50 refused calls")


def test_what_came_before_on_a_stream_is_answered(serve):
    server = serve("CartPole-v1")
    with grpc.insecure_channel(server.urls[0].removeprefix("grpc://")) as channel:
        stub = env_pb2_grpc.EnvServiceStub(channel)
        opened = stub.Open(env_pb2.OpenRequest(protocol_version=1, open_key=b"k" * 16))
        reset = env_pb2.ResetRequest(session=opened.session, epoch=opened.epoch, seq=1)
        frames = [env_pb2.ExchangeRequest(reset=reset).SerializeToString(), GARBAGE]
        answers = channel.stream_stream(f"{SERVICE}/Exchange", None, env_pb2.ExchangeResponse.FromString)(iter(frames))
        assert next(answers).reset.seq == 1
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        ref = opened.session
        resumed = stub.Resume(env_pb2.ResumeRequest(session_id=ref.id, token=ref.token, epoch=opened.epoch))
        assert resumed.session.next_seq == 2, "the session outlives the stream"


def test_without_a_token_nothing_is_parsed(serve):
    url = serve("CartPole-v1", tokens=Tokens({"a" * 16: "control"})).urls[0]
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        assert refusal(channel, CALLS[0]).code() is grpc.StatusCode.UNAUTHENTICATED
