"""Both ways of answering a stream do the same, and the fast one is given up where grpcio is another."""

from __future__ import annotations

import gc
import threading
import time

import grpc
import pytest
from grpc import _server  # private, as what is tested

import rlbridge
from rlbridge.server import grpc_server, grpc_stream
from rlbridge.v1 import env_pb2
from tests.trajectory import single_hash

PATH = "/rlbridge.v1.EnvService/Exchange"


@pytest.fixture(params=["own thread", "public"])
def url(request, monkeypatch, serve):
    """A server that answers streams in one of the two ways."""
    assert grpc_stream.works(), "this grpcio should be known"
    turns = []
    if request.param == "public":
        monkeypatch.setattr(grpc_server, "works", lambda: False)
    make = grpc_stream._Turns
    monkeypatch.setattr(grpc_stream, "_Turns", lambda *parts: turns.append(1) or make(*parts))
    yield serve("CartPole-v1").urls[0]
    assert bool(turns) == (request.param != "public")


def opened(channel: grpc.Channel) -> tuple[env_pb2.OpenResponse, list[bytes]]:
    """A session, and the bytes of its first requests: a reset and two steps."""
    open_call = channel.unary_unary(
        "/rlbridge.v1.EnvService/Open", env_pb2.OpenRequest.SerializeToString, env_pb2.OpenResponse.FromString
    )
    session = open_call(env_pb2.OpenRequest(protocol_version=1, open_key=b"k" * 16), timeout=20)
    known = {"session": session.session, "epoch": session.epoch}
    requests = [env_pb2.ExchangeRequest(reset=env_pb2.ResetRequest(seq=1, seed=0, **known))]
    for seq in (2, 3):
        step = env_pb2.StepRequest(seq=seq, action=[(1).to_bytes(8, "little")], **known)
        requests.append(env_pb2.ExchangeRequest(step=step))
    return session, [request.SerializeToString() for request in requests]


def test_the_numbers_are_the_same(url):
    env = rlbridge.make(url)
    assert single_hash(env, 300, seed=0) == single_hash(rlbridge.make("CartPole-v1"), 300, seed=0)
    env.close()


def test_requests_sent_before_their_answers_came_are_answered_in_order_and_the_stream_ends_well(url):
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        _, requests = opened(channel)
        call = channel.stream_stream(PATH, None, env_pb2.ExchangeResponse.FromString)(iter(requests), timeout=20)
        answers = list(call)
        assert [answer.WhichOneof("response") for answer in answers] == ["reset", "step", "step"]
        assert [answers[0].reset.seq, answers[1].step.seq, answers[2].step.seq] == [1, 2, 3]
        assert call.code() is grpc.StatusCode.OK


def test_bytes_that_are_no_request_end_the_stream_late_in_it_too(url):
    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        _, requests = opened(channel)
        call = channel.stream_stream(PATH, None, None)(iter([*requests, b"\xff" * 10]), timeout=20)
        for _ in requests:
            next(call)
        with pytest.raises(grpc.RpcError, match="a request of 10 bytes cannot be parsed"):
            next(call)
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_that_goes_in_the_middle_is_forgotten(url):
    gone = threading.Event()

    def requests(first: list[bytes]):
        yield from first
        gone.wait(20)

    channel = grpc.insecure_channel(url.removeprefix("grpc://"))
    _, first = opened(channel)
    call = channel.stream_stream(PATH, None, None)(requests(first), timeout=60)
    for _ in first:
        next(call)
    call.cancel()
    gone.set()
    channel.close()
    until(lambda: not _calls_remembered() and threads_of_streams() <= 1)  # one waits for the next stream


def test_the_threads_of_streams_end_with_the_server(serve):
    until(lambda: not threads_of_streams())
    server = serve("CartPole-v1")
    env = rlbridge.make(server.urls[0])
    env.reset(seed=0)
    env.step(0)
    until(lambda: threads_of_streams() == 2)  # one waits for the next stream
    env.close()
    until(lambda: threads_of_streams() == 1)
    server.stop()
    until(lambda: not threads_of_streams())


def test_a_request_that_fails_in_the_streams_thread_ends_the_stream_and_nothing_else(serve):
    server = serve("CartPole-v1")
    with grpc.insecure_channel(server.urls[0].removeprefix("grpc://")) as channel:
        _, requests = opened(channel)
        call = channel.stream_stream(PATH, None, None)(iter([*requests, requests[0][:-3]]), timeout=20)
        with pytest.raises(grpc.RpcError):
            list(call)
    env = rlbridge.make(server.urls[0])
    assert single_hash(env, 30, seed=0) == single_hash(rlbridge.make("CartPole-v1"), 30, seed=0)
    env.close()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.02)


def threads_of_streams() -> int:
    return sum(thread.name == "rlbridge-stream" for thread in threading.enumerate())


def _calls_remembered() -> int:
    gc.collect()
    return sum(type(thing) is _server._RPCState for thing in gc.get_objects())


def _lacking(*parts):
    raise AttributeError("grpcio has changed")


class _Silent(grpc_stream._Turns):
    def _turn(self, request):
        self._over.set()


class _Sharing(grpc_stream._Server):
    def request_registered_call(self, call_queue, server_queue, method, tag):
        self._server.request_registered_call(call_queue, server_queue, method, tag)


OTHERS = [("_Turns", _lacking), ("_Turns", _Silent), ("give_own_threads", _lacking), ("_Server", _Sharing)]


@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_another_grpcio_is_found_out_by_trying(monkeypatch, name, other):
    monkeypatch.setattr(grpc_stream, name, other)
    assert grpc_stream.works.__wrapped__() is False
