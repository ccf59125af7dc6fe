"""Both ways of driving the stream, and that the fast one is given up where grpcio is another."""

from __future__ import annotations

import grpc
import pytest

import rlbridge
from rlbridge.client import grpc_stream
from tests.patience import impatient
from tests.trajectory import single_hash


@pytest.mark.parametrize("stream", [grpc_stream.CallingThreadStream, grpc_stream.QueueStream])
def test_both_streams_carry_the_same_numbers_and_notice_a_hang(serve, monkeypatch, stream):
    if stream is grpc_stream.QueueStream:
        monkeypatch.setattr(grpc_stream, "CallingThreadStream", _missing)
    env = rlbridge.make(serve("CartPole-v1").urls[0])
    assert single_hash(env, 300, seed=0) == single_hash(rlbridge.make("CartPole-v1"), 300, seed=0)
    assert type(env._session._link._stream) is stream
    env.close()

    from tests.envs import Gate

    Gate.let_go.clear()
    env = rlbridge.make(serve("tests.envs:Gate").urls[0])
    env.reset(seed=0)
    with impatient(env), pytest.raises(rlbridge.errors.DeadlineExceeded, match=r"did not answer within 0.3 s"):
        env.step(0)
    Gate.let_go.set()
    env.close()


def _missing(channel: grpc.Channel) -> None:
    raise AttributeError("grpcio has changed")
