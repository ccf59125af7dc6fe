"""What one client can take of a server, and what becomes of streams that lead nowhere."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

import grpc
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.server import ServerLimits
from rlbridge.v1 import env_pb2, env_pb2_grpc


def test_one_client_may_have_only_so_many_sessions(serve):
    url = serve("CartPole-v1", limits=ServerLimits(max_sessions_per_client=2)).urls[0]
    envs = [rlbridge.make(url) for _ in range(2)]
    with pytest.raises(errors.CapacityExhausted, match=r"\(ipv4:127\.0\.0\.1\) has 2 sessions open, one may have 2"):
        rlbridge.make(url)
    envs[0].close()
    rlbridge.make(url).close()
    envs[1].close()


def test_one_client_may_open_only_so_fast(serve):
    url = serve("CartPole-v1", limits=ServerLimits(max_opens_per_second=2)).urls[0]
    with pytest.raises(errors.CapacityExhausted, match="within a second; the limit is 2"):  # noqa: PT012
        for _ in range(50):
            rlbridge.make(url).close()


def test_idle_streams_do_not_keep_others_out(serve):
    """More silent streams than the transport has threads: they are ended, and who wants to work can."""
    server = serve("CartPole-v1", limits=ServerLimits(max_sessions=4, silent_seconds=0.5))
    channel = grpc.insecure_channel(server.urls[0].removeprefix("grpc://"))
    stub = env_pb2_grpc.EnvServiceStub(channel)
    never = threading.Event()

    def silent():
        never.wait(30)
        yield from ()

    streams = [stub.Exchange(silent()) for _ in range(30)]  # 24 threads
    ended = [stream.code() for stream in streams]  # waits for each
    assert set(ended) <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    env = rlbridge.make(server.urls[0])
    env.reset(seed=0)
    env.close()
    never.set()
    channel.close()


def test_a_stream_whose_session_was_taken_over_or_closed_is_ended(serve):
    server = serve("CartPole-v1", limits=ServerLimits(silent_seconds=0.4))
    envs = [rlbridge.make(server.urls[0]) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    host = server.host
    assert len(host._streams) == 2
    first = envs[0]._session
    host.resume(env_pb2.ResumeRequest(session_id=first._reference.id, token=first._reference.token, epoch=first._epoch))
    second = envs[1]._session
    host.close(env_pb2.CloseRequest(session=second._reference, epoch=second._epoch))
    for _ in range(200):
        if not host._streams:
            break
        threading.Event().wait(0.05)  # until the host has tidied up, within ten seconds
    assert not host._streams
    for env in envs:
        env.close()


def test_a_request_of_a_size_beyond_the_limit_is_refused_by_the_transport(serve):
    url = serve("CartPole-v1", limits=ServerLimits(max_message_bytes=10_000)).urls[0]
    env = rlbridge.make(url)
    env.reset(seed=0)
    with pytest.raises(errors.MessageTooLarge, match="Raise max_message_bytes on the side that refused"):
        env.reset(options={"note": "x" * 20_000})
    env.step(0)  # nothing was reset, and the session lives on
    env.close()


@pytest.mark.parametrize("asked", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /heal"])
def test_an_http_connection_that_falls_silent_is_closed_after_a_lease(serve, asked):
    """Also where nothing says that the peer is gone: no packet comes from a machine without power."""
    server = serve("CartPole-v1", "http://127.0.0.1:0", limits=ServerLimits(lease_seconds=1))
    url = urlsplit(server.urls[0])
    with socket.create_connection((url.hostname, url.port), timeout=30) as peer:
        peer.sendall(asked)
        while peer.recv(4096):  # times out where the server keeps the connection for longer than 30 s
            pass
