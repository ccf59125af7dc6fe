"""Shared memory: what is large goes through it, a death is seen at once, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import rlbridge
from rlbridge import errors
from rlbridge.client import Rollout, shm_link
from rlbridge.doctor import diagnose
from rlbridge.server import ServerLimits, shm_server
from rlbridge.server.catalog import Offer
from rlbridge.v1 import env_pb2
from rlbridge.wire import channel
from rlbridge.wire.channel import HELLO_PREFIX, Channel, Kind
from tests.conftest import ROOT
from tests.patience import impatient
from tests.trajectory import digest

HEADER = struct.Struct("<BBxxI")


@pytest.fixture
def bind(tmp_path) -> str:
    return f"shm://{tmp_path}/env.sock"


class Echo(gymnasium.Env):
    """The observation is the action, of ``size`` bytes."""

    def __init__(self, size: int):
        self.observation_space = self.action_space = spaces.Box(0, 255, (size,), np.uint8)

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape, np.uint8), {}

    def step(self, action):
        return action.copy(), 0.0, False, False, {}


class Sink(Echo):
    """Takes more than it gives."""

    def __init__(self):
        super().__init__(300_000)
        self.observation_space = spaces.Box(0, 255, (1,), np.uint8)

    def step(self, action):
        return action[:1].copy(), 0.0, False, False, {}


@pytest.mark.parametrize("half", [64 * 2**20, 2**20], ids=["through-the-memory", "larger-than-the-memory"])
def test_messages_of_every_size_arrive_as_they_were_sent(serve, bind, monkeypatch, half):
    monkeypatch.setattr(channel, "_LARGEST_HALF", half)
    sizes = (1, channel.WITH_THE_HEADER, 3_000_000)
    server = serve([Offer(str(size), lambda size=size: Echo(size)) for size in sizes], bind=bind)
    for size in sizes:
        env = rlbridge.make(f"{server.urls[0]}?env={size}")
        env.reset(seed=0)
        for seed in range(3):
            action = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
            np.testing.assert_array_equal(env.step(action)[0], action)
        assert (len(env._session._link._stream._outgoing) == 64 * 2**20) is (half == 64 * 2**20)
        env.close()


def test_rollouts_at_the_environment_are_those_of_another_transport(serve, bind):
    server = serve("CartPole-v1", bind=[bind, "grpc://127.0.0.1:0"])
    found = []
    for url in server.urls:
        envs = rlbridge.make_vec(url, 8, autoreset_mode="SameStep")
        envs.reset(seed=0)
        envs.send_rollout(Rollout(300, "uniform", seed=5))
        result = envs.recv_rollout()
        found.append((result.action, [digest(result.step(t)).hexdigest() for t in range(len(result))]))
        envs.close()
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert len(found[0][1]) == 300
    assert found[0][1] == found[1][1]


def test_a_message_beyond_the_limit_is_refused_with_both_numbers_and_the_session_lives_on(serve, bind):
    limits = ServerLimits(max_message_bytes=500_000)
    env = rlbridge.make(serve("tests.envs:Chatty", bind=bind, limits=limits).urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.MessageTooLarge, match=r"1000\d+ bytes, the limit is 500000"):
        env.step(1)
    assert env.step(0)[0][1] == 2
    sink = serve([Offer("sink", Sink)], bind=f"{bind}2").urls[0]
    big = rlbridge.make(sink, max_message_bytes=100_000)
    big.reset()
    with pytest.raises(errors.MessageTooLarge, match="the limit is 100000"):
        big.step(big.action_space.sample())
    big.reset()
    big.close()
    env.close()


# ------------------------------------------------------------------------------------------------------------ deaths


def test_a_client_that_waits_is_told_at_once_when_the_server_is_killed(serve_process, bind):
    process, (url,) = serve_process("tests.envs:Forever", "--bind", bind)
    envs = rlbridge.make_vec(url, 2, timeout=120, retry_for=0, on_lost="raise")
    envs.reset(seed=0)
    envs.send(np.zeros(2, np.int64))
    process.send_signal(signal.SIGKILL)
    with pytest.raises(errors.Unavailable):  # and not DeadlineExceeded, after two minutes
        envs.recv()
    envs.close()
    process.wait(10)
    assert own_memory() == []
    with pytest.raises(errors.Unavailable, match="connection refused"):
        rlbridge.make(url, retry_for=0)


def test_a_fork_of_the_server_does_not_hide_its_death_nor_keep_its_place(serve_process, bind):
    process, (url,) = serve_process("tests.envs:Forks", "--bind", bind)
    envs = rlbridge.make_vec(url, 1, timeout=100, retry_for=0, on_lost="raise")
    (worker,) = envs.reset(seed=0)[1]["worker"]
    try:
        envs.send(np.zeros(1, np.int64))
        process.send_signal(signal.SIGKILL)
        with pytest.raises(errors.Unavailable):
            envs.recv()
        os.kill(worker, 0)  # it is there still
        process.wait(10)
        serve_process("CartPole-v1", "--bind", bind)
        rlbridge.make(url).close()
    finally:
        os.kill(worker, signal.SIGKILL)
    envs.close()


def test_a_new_server_takes_the_place_of_a_killed_one_and_the_batch_goes_on(serve_process, bind):
    process, (url,) = serve_process("CartPole-v1", "--bind", bind)
    envs = rlbridge.make_vec(url, 2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    serve_process("CartPole-v1", "--bind", bind)
    _, _, _, truncated, infos = envs.step(np.zeros(2, np.int64))
    assert truncated.all()
    assert not infos["bridge_valid"].any()
    assert not envs.step(np.zeros(2, np.int64))[3].any()
    assert envs.times_lost == 1
    envs.close()


def test_a_server_that_stands_still_is_a_deadline_and_then_the_same_step_once(serve_process, bind):
    process, (url,) = serve_process("tests.envs:Counter", "--bind", bind)
    env = rlbridge.make(url)
    env.reset(seed=0)
    process.send_signal(signal.SIGSTOP)
    try:
        while not stopped(process.pid):
            time.sleep(0.01)
        with impatient(env), pytest.raises(errors.DeadlineExceeded, match=r"did not answer within 0\.3 s"):
            env.step(1)
    finally:
        process.send_signal(signal.SIGCONT)
    assert env.step(1)[-1]["total"] == 1
    assert env.step(1)[-1]["total"] == 2
    env.close()


def stopped(pid: int) -> bool:
    """Whether a process stands still: a signal takes effect a little after it was sent."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


COUNTED = ("open", "objects", "threads", "descriptors")
CLIENT = """
import sys, rlbridge
env = rlbridge.make(sys.argv[1])
env.reset(seed=0)
env.step(1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_client_leaves_no_session_thread_descriptor_or_file(serve_process, bind):
    _, (url,) = serve_process("tests.envs:Ledger", "--bind", bind, "--lease", "1")
    ledger = rlbridge.make(url)

    def books():
        return ledger.reset(options={"books": True})[1]

    before = books()
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert client.stdout.readline() == b"ready\n"
    assert books()["open"] == before["open"] + 1
    client.send_signal(signal.SIGKILL)
    client.wait(10)
    client.stdin.close()
    client.stdout.close()
    left = None
    end = time.monotonic() + 30  # a renewal of the ledger's own lease may show for a moment
    while left != {} and time.monotonic() < end:
        after = books()
        left = {name: after[name] for name in COUNTED if after[name] > before[name]}
    assert left == {}, before
    assert own_memory() == []
    ledger.close()


def test_opening_and_closing_leaves_nothing_behind(serve_process, bind):
    _, (url,) = serve_process("tests.envs:Ledger", "--bind", bind)
    ledger = rlbridge.make(url)

    def books() -> dict[str, int]:
        return {**ledger.reset(options={"books": True})[1], "own descriptors": len(os.listdir("/proc/self/fd"))}

    before = books()
    for _ in range(40):
        env = rlbridge.make(url)
        env.reset(seed=0)
        env.step(1)
        env.close()
    left = None
    end = time.monotonic() + 20
    while left != {} and time.monotonic() < end:  # the server's threads end a moment after their connections
        after = books()
        left = {name: after[name] for name in (*COUNTED, "own descriptors") if after[name] > before[name]}
    assert left == {}, before
    ledger.close()


def own_memory() -> list[str]:
    """Files with names that shared memory of ours could have."""
    return [name for name in os.listdir("/dev/shm") if "rlbridge" in name]


def test_closing_lets_go_of_the_memory(serve, bind):
    url = serve("tests.envs:Wide", bind=bind).urls[0]

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("/memfd:rlbridge")

    before = mappings()
    env = rlbridge.make(url, copy=False)
    env.reset()
    env.step(0)
    assert mappings() == before + 2  # the client's and the server's, both in this process
    env.close()
    del env
    end = time.monotonic() + 20
    while mappings() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert mappings() <= before


# ------------------------------------------------------------------------------------------------- the socket's file


def test_only_the_servers_user_may_use_the_socket_and_its_file_goes_with_the_server(serve, tmp_path, bind):
    path = tmp_path / "env.sock"
    server = serve("CartPole-v1", bind=bind)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(errors.PortTaken, match="another server answers there"):
        serve("CartPole-v1", bind=bind)
    rlbridge.make(bind).close()  # the first one's still
    server.stop()
    assert not path.exists()
    with pytest.raises(errors.Unavailable, match=r"nothing answers at shm://.*no such file"):
        rlbridge.make(bind, retry_for=0)


def test_a_stale_socket_is_replaced_and_another_file_is_not(serve, tmp_path, bind):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "env.sock"))
    serve("CartPole-v1", bind=bind)
    rlbridge.make(bind).close()
    (tmp_path / "notes").write_text("precious")
    for path, words in (("notes", "that is no socket"), ("no/folder", "no such file"), ("x" * 200, "too long")):
        with pytest.raises(errors.PortTaken, match=words):
            serve("CartPole-v1", bind=f"shm://{tmp_path}/{path}")
    assert (tmp_path / "notes").read_text() == "precious"


def test_elsewhere_than_on_linux_one_sentence_says_what_to_use(serve, bind, monkeypatch):
    url = serve("CartPole-v1", bind=bind).urls[0]
    for module in (shm_link, shm_server):
        monkeypatch.setattr(module, "supported", lambda: False)
    with pytest.raises(errors.Unsupported, match="needs Linux; on this system, use unix://"):
        rlbridge.make(url)
    with pytest.raises(errors.BindRefused, match="needs Linux; on this system, serve unix://"):
        serve("CartPole-v1", bind=f"{bind}2")


# ------------------------------------------------------------------------------------------------------ bad company


def connected(bind: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(bind.removeprefix("shm://"))
    return peer


def ended(peer: socket.socket) -> bytes:
    """What the server says until it closes the connection."""
    said = b""
    try:
        while piece := peer.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    peer.close()
    return said


def hello(call: str) -> bytes:
    payload = HELLO_PREFIX + f"{call}\n".encode()
    return HEADER.pack(Kind.HELLO, 0, len(payload)) + payload


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        HEADER.pack(Kind.HELLO, 0, 2**32 - 1),
        HEADER.pack(Kind.HELLO, 1, 100),
        HEADER.pack(Kind.HELLO, 0, 3) + b"\xff\xfe\xfd",
        HEADER.pack(Kind.MESSAGE, 0, 3) + b"abc",
        hello("Describe") + HEADER.pack(Kind.MESSAGE, 0, 2**32 - 1),
        hello("Describe") + HEADER.pack(Kind.MESSAGE, 1, 8),
        hello("Describe") + HEADER.pack(Kind.ERROR, 0, 0),
        hello("Destroy"),
        hello("Exchange") + HEADER.pack(Kind.MESSAGE, 1, 2**31),
        hello("Exchange") + HEADER.pack(Kind.MEMORY, 0, 0),
    ],
    ids=range(12),
)
def test_a_peer_that_makes_no_sense_is_told_and_left(serve, bind, said):
    url = serve("CartPole-v1", bind=bind).urls[0]
    peer = connected(bind)
    peer.sendall(said)
    assert b"INVALID_REQUEST" in (answer := ended(peer)) or b"UNIMPLEMENTED" in answer or b"TOO_LARGE" in answer
    rlbridge.make(url).close()


def test_bytes_that_are_no_request_are_answered_and_the_connection_goes_on(serve, bind):
    serve("CartPole-v1", bind=bind)
    for call in ("Describe", "Exchange"):
        peer = Channel(connected(bind), 10**6)
        peer.send(Kind.HELLO, HELLO_PREFIX + call.encode())
        if call == "Exchange":
            assert peer.take_memory(20)[0] == Kind.MEMORY
        for size in (10, 100_000):
            peer.send(Kind.MESSAGE, b"\xff" * size)
            kind, answer = peer.receive(20)
            if call == "Exchange":
                assert env_pb2.ExchangeResponse.FromString(answer).error.reason == "INVALID_REQUEST"
            else:
                assert kind == Kind.ERROR
                assert env_pb2.Error.FromString(answer).reason == "INVALID_REQUEST"
        peer.close()


def test_the_memory_cannot_be_shrunk_under_the_server(serve, bind):
    serve("CartPole-v1", bind=bind)
    peer = connected(bind)
    peer.sendall(hello("Exchange"))
    _, (fd,), _, _ = socket.recv_fds(peer, 100, 1)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    peer.close()


def test_a_silent_peer_is_left_and_too_many_are_refused(serve, bind):
    url = serve("CartPole-v1", bind=bind, limits=ServerLimits(max_sessions=1, silent_seconds=0.2)).urls[0]
    assert ended(connected(bind)) == b""
    half = connected(bind)
    half.sendall(hello("Exchange")[:5])
    assert ended(half) == b""
    patient = serve("CartPole-v1", bind=f"{bind}2", limits=ServerLimits(max_sessions=1)).urls[0]
    peers = [connected(f"{bind}2") for _ in range(18)]
    with pytest.raises(errors.CapacityExhausted, match="has 18 connections"):
        rlbridge.make(patient)
    for peer in peers:
        peer.close()
    rlbridge.make(url).close()


@pytest.mark.parametrize("silent", [False, True])
def test_what_is_no_server_of_ours_is_named(serve, tmp_path, silent):
    path = tmp_path / "other.sock"
    if silent:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            with pytest.raises(errors.DeadlineExceeded, match=r"did not answer within 0\.3 s"):
                rlbridge.make(f"shm://{path}", timeout=0.3, retry_for=0)
    else:
        serve("CartPole-v1", bind=f"unix://{path}")
        with pytest.raises(errors.ProtocolMismatch, match="no rlbridge server over shared memory"):
            rlbridge.make(f"shm://{path}", timeout=20, retry_for=0)


# ------------------------------------------------------------------------------------------------------- the doctor


def test_the_doctor_finds_a_healthy_server_well_and_says_what_is_wrong_with_others(serve, tmp_path, bind):
    findings = diagnose(serve("CartPole-v1", bind=bind).urls[0])
    assert {finding.status for finding in findings} == {"ok"}, findings
    assert "shared memory over a unix socket" in findings[0].found
    assert findings[-1].name == "steps"
    (last,) = diagnose(f"shm://{tmp_path}/none")[-1:]
    assert last.status == "problem"
    assert "no such socket" in last.found
    assert "--bind shm://" in last.advice
    (last,) = diagnose(serve("CartPole-v1", bind=f"unix://{tmp_path}/g.sock").urls[0].replace("unix", "shm"))[-1:]
    assert (last.status, last.name) == ("problem", "server")
