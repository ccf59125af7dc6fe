"""Environments that exit, hang, insist on their thread or return nonsense: each is one session's trouble."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.server import ServerLimits
from rlbridge.server.catalog import Offer
from rlbridge.v1 import env_pb2
from tests.envs import Counter, Exits, Gate, HangsOnClose, LongError, OneThread
from tests.patience import impatient
from tests.server.test_exactly_once import Peer, open_request, reason


def test_an_environment_that_calls_exit_is_an_error_that_is_kept_and_stepped_once():
    peer = Peer(Exits)
    peer.reset()
    first = peer.step(2, action=2)
    assert reason(first) == "ENVIRONMENT_ERROR"
    assert "SystemExit in step: the licence ran out" in first.error.message
    assert peer.step(2, action=2).error == first.error
    assert peer.env.total_steps == 1
    assert peer.reset(3).reset.seq == 3
    peer.stop()  # its close calls exit, too


def test_a_factory_that_calls_exit_is_an_error():
    calls = iter([Counter(), None])

    def make():
        env = next(calls)
        if env is None:
            raise SystemExit("no licence")
        return env

    peer_host = rlbridge.server.Host([Offer("env", make)])
    with pytest.raises(errors.RemoteEnvError, match="raised SystemExit: no licence"):
        peer_host.open(open_request())
    assert peer_host.describe(env_pb2.DescribeRequest()).limits.open_sessions == 0
    peer_host.stop()


def test_a_close_that_hangs_keeps_no_other_session_from_expiring_nor_the_server_from_stopping():
    HangsOnClose.let_go.clear()
    peer = Peer(HangsOnClose, ServerLimits(lease_seconds=0.2))
    for i in range(3):
        opened = peer.host.open(open_request(key=b"hanging session %d" % i))
        reset = env_pb2.ResetRequest(session=opened.session, seq=1, epoch=peer.epoch)
        peer.host.execute(env_pb2.ExchangeRequest(reset=reset))
    for _ in range(400):
        if not peer.host._sessions:
            break
        threading.Event().wait(0.05)
    assert not peer.host._sessions
    HangsOnClose.let_go.set()
    assert peer.host.stop()


def test_a_stop_waits_for_all_sessions_together_and_says_whether_they_ended():
    Gate.let_go.clear()
    Gate.entered.clear()
    peer = Peer(Gate)
    peer.reset()
    answers: list = []
    stepping = threading.Thread(target=lambda: answers.append(peer.step(2)))
    stepping.start()
    assert Gate.entered.wait(10)
    stopping = threading.Thread(target=lambda: answers.append(peer.host.stop()))
    stopping.start()
    Gate.let_go.set()
    stopping.join(20)
    stepping.join(10)
    assert True in answers
    assert [answer.step.seq for answer in answers if answer is not True] == [2]  # the step under way was finished
    assert reason(peer.step(3)) == "SHUTTING_DOWN"


def test_a_server_ends_on_a_signal_though_a_step_hangs(serve_process):
    process, (url,) = serve_process("tests.envs:Forever", "--bind", "grpc://127.0.0.1:0")
    env = rlbridge.make(url)
    env.reset(seed=0)
    with impatient(env), pytest.raises(errors.DeadlineExceeded):
        env.step(0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "leaving without it" in process.stderr.read()
    env._session._keep_alive.stop()


def test_an_info_that_is_none_fails_its_row_and_the_others_keep_step(serve):
    envs = rlbridge.make_vec(serve("tests.envs:BadInfo").urls[0], 3)
    envs.reset(seed=0)
    observations, _, _, truncated, infos = envs.step(np.array([0, 2, 0]))
    np.testing.assert_array_equal(truncated, [False, True, False])
    assert "info must be a dictionary, got str 'text'" in infos["bridge_error"][1]
    observations, *_ = envs.step(np.array([0, 0, 0]))
    np.testing.assert_array_equal(observations[[0, 2]], [[0, 2], [0, 2]])
    envs.close()
    env = rlbridge.make(serve("tests.envs:BadInfo").urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.RemoteEnvError, match="info must be a dictionary"):
        env.step(2)
    env.close()


def test_an_environment_can_have_a_thread_of_its_own(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text("env: tests.envs:OneThread\nown_thread: true\n")
    OneThread.closed.clear()
    env = rlbridge.make(serve(str(tmp_path)).urls[0])
    OneThread.closed.clear()  # the probe's
    for _ in range(3):
        env.reset(seed=0)
        env._session._link.drop()  # the next request comes in another thread of the transport
        assert env.step(1)[1] == 1.0
    env.close()
    assert OneThread.closed.wait(10)


def test_an_error_longer_than_the_limit_is_cut_to_fit(serve):
    env = rlbridge.make(serve("tests.envs:LongError").urls[0], max_message_bytes=60_000)
    env.reset(seed=0)
    with pytest.raises(errors.RemoteEnvError, match=r"RuntimeError in step: x+ \.\.\. \(\d+ characters\)"):
        env.step(0)
    env.reset(seed=0)
    env.close()
    peer = Peer(LongError)
    peer.reset()
    assert peer.step(2).ByteSize() < 60_000
    peer.stop()


def test_a_native_batch_refuses_what_it_cannot_do_before_anything_happens(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text("env: CartPole-v1\nvectorization: native\n")
    envs = rlbridge.make_vec(serve(str(tmp_path)).urls[0], 3)
    first, _ = envs.reset(seed=[4, 5, 6])
    again, _ = envs.reset(seed=4)
    np.testing.assert_array_equal(first, again)
    with pytest.raises(errors.Unsupported, match="takes one seed"):
        envs.reset(seed=[4, 4, 4])
    with pytest.raises(errors.Unsupported, match="reset_mask is for autoreset DISABLED"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.step(np.array([0, 1, 0]))
    envs.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env: Pendulum-v1\nvectorization: native\n", "making environment 'Pendulum-v1' raised"),
        ("env: CartPole-v1\nvectorization: native\nvector: tests.envs:not_a_batch\n", "no VectorEnv"),
    ],
)
def test_a_native_batch_that_is_none_is_found_at_the_start(serve, tmp_path, text, words):
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises((errors.RemoteEnvError, errors.UnknownFactory)) as raised:
        serve(str(tmp_path))
    assert words in str(raised.value)


def test_odd_requests_are_refused_by_name():
    peer = Peer(Counter)
    peer.reset()
    zero = peer.step(0)
    assert (reason(zero), "seq begins with 1" in zero.error.message) == ("INVALID_REQUEST", True)
    with pytest.raises(errors.WireError, match="other parameters"):
        peer.host.open(open_request(num_envs=2))
    with pytest.raises(errors.WireError, match="16 to 64 random ones"):
        peer.host.open(open_request(key=b"x" * 65))
    with pytest.raises(errors.WireError, match="autoreset_mode 77 is unknown"):
        peer.host.open(open_request(num_envs=2, key=b"another key of 16", autoreset_mode=77))
    with pytest.raises(errors.UnknownEnvironment) as raised:
        peer.host.open(open_request(key=b"another key of 16", environment="x" * 200_000))
    assert len(str(raised.value)) < 500
    peer.stop()


@pytest.mark.parametrize("reward", ["1.5", None, [1.0, 2.0]])
def test_a_reward_that_is_no_number_is_named(reward):
    class Odd(Counter):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, reward, *rest

    peer = Peer(Odd)
    peer.reset()
    assert "reward must be a number, got" in peer.step(2).error.message
    peer.stop()
