"""A server's threads look for their next request only while one stream is used: looking keeps others waiting."""

import gymnasium
import pytest

from rlbridge.server import Host, host
from rlbridge.server.catalog import Offer
from rlbridge.v1 import env_pb2


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(host.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def alone(clock):
    served = Host([Offer("env", lambda: gymnasium.make("CartPole-v1"))])
    yield served
    served.stop()


def request():
    return env_pb2.ExchangeRequest(render=env_pb2.RenderRequest(seq=1))


def test_one_stream_is_alone_and_two_that_are_used_in_turn_are_not(alone, clock):
    first, second = alone.exchange(lambda: None), alone.exchange(lambda: None)
    for _ in range(3):
        first.execute(request())
        clock[0] += 0.1
    assert alone.alone, "the other stream is open, and nobody uses it"
    second.execute(request())
    assert not alone.alone
    clock[0] += 0.01
    first.execute(request())
    assert not alone.alone
    clock[0] += 0.1
    first.execute(request())
    assert alone.alone


def test_a_stream_is_ended_only_if_two_looks_find_it_useless(clock, monkeypatch):
    """A client that has just resumed may go on over the stream it has: nobody may end it before its next request."""
    monkeypatch.setattr(Host, "_tidy", lambda self: None)  # the looks are taken here
    served = Host([Offer("env", lambda: gymnasium.make("CartPole-v1"))])
    opened = served.open(env_pb2.OpenRequest(protocol_version=1, open_key=b"0123456789abcdef"))
    ended = []
    stream = served.exchange(lambda: ended.append(1))

    def resume_and(number: int) -> None:
        reference = opened.session
        again = env_pb2.ResumeRequest(session_id=reference.id, token=reference.token, epoch=opened.epoch)
        reference.CopyFrom(served.resume(again).session.session)
        served._end_what_is_left()
        if number:
            reset = env_pb2.ResetRequest(session=reference, epoch=opened.epoch, seq=number)
            assert stream.execute(env_pb2.ExchangeRequest(reset=reset)).reset.seq == number

    for number in (1, 2, 3):
        resume_and(number)
    assert not ended
    resume_and(0)
    served._end_what_is_left()
    assert ended == [1]
    served.stop()
