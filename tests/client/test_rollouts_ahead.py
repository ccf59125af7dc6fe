"""Two rollouts under way at once: the same steps as one after the other, and what becomes of the second one when
something happens to the first."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing

import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.client import Rollout, RolloutPolicy, grpc_stream
from rlbridge.client.session import RequestPending
from rlbridge.server.catalog import Offer
from tests.envs import Counter, Gate
from tests.patience import impatient
from tests.server.test_rollout_service import Breaks, linear
from tests.trajectory import digest

ROWS = 2
SMALL = RolloutPolicy("categorical", linear(2, inputs=4).SerializeToString())


def rollout(first_step: int, steps: int = 5, policy: RolloutPolicy | None = SMALL) -> Rollout:
    return Rollout(steps, "categorical" if policy else "uniform", policy, 3, first_step)


def connected(serve, env="CartPole-v1", bind="grpc://127.0.0.1:0", **options):
    return begun(serve(env, bind=bind).urls[0], **options)


def begun(url: str, **options):
    envs = rlbridge.make_vec(url, ROWS, autoreset_mode="SameStep", **options)
    envs.reset(seed=1)
    return closing(envs)


def seen(result) -> list[str]:
    return [digest((result.action[t], result.step(t))).hexdigest() for t in range(len(result))]


def padded(size: int) -> RolloutPolicy:
    """A policy whose model has so many bytes at least."""
    model = linear(2, inputs=4)
    model.doc_string = "x" * size
    return RolloutPolicy("categorical", model.SerializeToString())


@pytest.fixture(params=["grpc", "grpc, in public ways", "http", "shm"])
def bind(request, tmp_path, monkeypatch):
    if request.param.endswith("ways"):
        monkeypatch.setattr(grpc_stream, "CallingThreadStream", lambda *arguments: (_ for _ in ()).throw(ImportError()))
    if request.param == "shm":
        return f"shm://{tmp_path}/env.sock"
    return f"{request.param.split(',')[0]}://127.0.0.1:0"


@pytest.mark.parametrize("policy", [SMALL, padded(100_000)], ids=["small", "large"])
def test_two_under_way_make_the_steps_that_one_after_the_other_does(serve, bind, policy):
    url = serve("CartPole-v1", bind=bind).urls[0]
    with begun(url) as envs:
        expected = []
        for number in range(6):
            envs.send_rollout(rollout(5 * number, policy=(policy, SMALL)[number % 2]))
            expected += seen(envs.recv_rollout())
        after = envs.step(np.ones(ROWS, np.int64))
    with begun(url) as envs:
        found = []
        envs.send_rollout(rollout(0, policy=policy))
        for number in range(1, 6):
            envs.send_rollout(rollout(5 * number, policy=(policy, SMALL)[number % 2]))
            found += seen(envs.recv_rollout())
        found += seen(envs.recv_rollout())
        assert found == expected
        assert digest(envs.step(np.ones(ROWS, np.int64))).hexdigest() == digest(after).hexdigest()


def test_no_more_are_taken_than_the_server_keeps_outcomes_of_and_no_step_beside_them(serve):
    with connected(serve) as envs:
        assert envs.rollouts_at_once == 4
        for number in range(4):
            envs.send_rollout(rollout(5 * number))
        for call in (lambda: envs.send_rollout(rollout(20)), lambda: envs.step(np.ones(ROWS, np.int64)), envs.reset):
            with pytest.raises(RequestPending, match="receive its answer first"):
                call()
        assert [len(envs.recv_rollout()) for _ in range(4)] == [5] * 4
        envs.reset()
        envs.send(np.ones(ROWS, np.int64))
        with pytest.raises(RequestPending):
            envs.send_rollout(rollout(10))


def test_what_was_sent_behind_a_refused_one_is_not_made(serve, bind):
    with connected(serve, [Offer("env", Counter)], bind) as envs:
        envs.send_rollout(rollout(0, policy=RolloutPolicy("categorical", b"\xff" * 50)))
        envs.send_rollout(rollout(0, policy=None))
        with pytest.raises(errors.InvalidPolicy):
            envs.recv_rollout()
        envs.send_rollout(rollout(0, steps=3, policy=None))
        result = envs.recv_rollout()
        assert [result.step(t)[4]["total"].tolist() for t in range(3)] == [[1, 1], [2, 2], [3, 3]]


def test_what_was_sent_behind_one_that_failed_needs_a_reset(serve, bind):
    with connected(serve, [Offer("env", Breaks)], bind) as envs:
        envs.send_rollout(rollout(0, steps=9, policy=None))
        envs.send_rollout(rollout(9, steps=9, policy=None))
        result = envs.recv_rollout()
        assert (len(result), type(result.error)) == (4, errors.RemoteEnvError)
        with pytest.raises(errors.NeedsReset):
            envs.recv_rollout()
        envs.reset()


def test_a_lost_server_costs_the_first_and_the_second_is_made_in_new_environments(serve_process):
    process, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    with begun(url, retry_for=60) as envs:
        process.send_signal(signal.SIGSTOP)  # so that neither is made there
        for number in range(2):
            envs.send_rollout(rollout(5 * number))
        process.kill()
        process.wait(10)
        serve_process("CartPole-v1", "--bind", url)
        lost, made = envs.recv_rollout(), envs.recv_rollout()
        assert not lost.step(0)[4]["bridge_valid"].any()
        assert (len(made), envs.times_lost) == (5, 1)
        assert "bridge_valid" not in made.step(0)[4]


def test_waiting_that_was_broken_off_goes_on_with_both(serve, bind, monkeypatch):
    monkeypatch.setattr(Gate, "let_go", let_go := threading.Event())
    with connected(serve, [Offer("env", Gate)], bind) as envs:
        for number in range(2):
            envs.send_rollout(rollout(2 * number, steps=2, policy=None))
        with impatient(envs), pytest.raises(errors.DeadlineExceeded):
            envs.recv_rollout()
        envs.send_rollout(rollout(0, steps=2, policy=None))  # the first one again, as good as waiting for it
        with pytest.raises(RequestPending, match="broken off"):
            envs.send_rollout(rollout(4, steps=2, policy=None))
        let_go.set()
        totals = []
        for _ in range(2):
            result = envs.recv_rollout()
            totals += [result.step(t)[4]["total"].tolist() for t in range(2)]
        assert totals == [[i, i] for i in range(1, 5)]


def test_what_a_reset_took_is_not_handed_out_as_another_one(serve):
    with connected(serve, [Offer("env", Counter)]) as envs:
        for number in range(2):
            envs.send_rollout(rollout(2 * number, steps=2, policy=None))
        envs._session.receive()  # as a reset does that takes the first answer and gives up on the second
        result = envs.recv_rollout()
        assert [result.step(t)[4]["total"].tolist() for t in range(2)] == [[3, 3], [4, 4]]
        with pytest.raises(RequestPending, match="no rollout is under way"):
            envs.recv_rollout()


class LargeOnce(Counter):
    """Its first step says too much."""

    def step(self, action):
        *outcome, info = super().step(action)
        return (*outcome, {"much": "x" * 300_000} if self.total_steps == 1 else info)


def test_an_answer_that_is_too_large_leaves_the_numbers_right(serve, bind):
    with connected(serve, [Offer("env", LargeOnce)], bind, max_message_bytes=100_000) as envs:
        envs.send_rollout(rollout(0, steps=1, policy=None))
        envs.send_rollout(rollout(1, steps=2, policy=None))
        with pytest.raises(errors.MessageTooLarge):
            envs.recv_rollout()
        envs.reset()
        *_, infos = envs.step(np.zeros(ROWS, np.int64))
        assert infos["total"].tolist() == [4, 4]


def test_a_lost_server_that_does_not_come_back_leaves_nothing_under_way(serve_process):
    process, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    with begun(url, retry_for=20, on_lost="raise") as envs:
        process.send_signal(signal.SIGSTOP)
        for number in range(2):
            envs.send_rollout(rollout(5 * number))
        process.kill()
        process.wait(10)
        serve_process("CartPole-v1", "--bind", url)
        with pytest.raises(errors.EnvLost):
            envs.recv_rollout()
        with pytest.raises(RequestPending, match="no rollout is under way"):
            envs.recv_rollout()


@pytest.mark.parametrize("notices", ["reset", "step"])
def test_a_policy_goes_along_again_after_the_server_was_lost(serve_process, notices):
    process, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    with closing(rlbridge.make_vec(url, ROWS, autoreset_mode="NextStep", retry_for=60)) as envs:
        envs.reset(seed=1)
        envs.send_rollout(rollout(0))
        envs.recv_rollout()
        process.kill()
        process.wait(10)
        serve_process("CartPole-v1", "--bind", url)
        action = np.ones(ROWS, np.int64)
        _ = envs.reset() if notices == "reset" else envs.step(action)
        envs.send_rollout(rollout(5))
        shown = envs.recv_rollout().step(4)[0]
        assert envs.times_lost == 1
        assert (envs.step(action)[0] != shown).all()  # a step, not the reset that the loss made


def test_an_equal_rollout_is_the_same_one(serve, monkeypatch):
    monkeypatch.setattr(Gate, "let_go", let_go := threading.Event())
    model = linear(3, inputs=2).SerializeToString()
    with connected(serve, [Offer("env", Gate)]) as envs:

        def send(number: int) -> None:
            envs.send_rollout(rollout(2 * number, steps=2, policy=RolloutPolicy("categorical", model)))

        send(0)
        send(1)
        with impatient(envs), pytest.raises(errors.DeadlineExceeded):
            envs.recv_rollout()
        send(0)
        send(1)
        let_go.set()
        totals = [envs.recv_rollout().step(t)[4]["total"].tolist() for t in (1, 1)]
        assert totals == [[2, 2], [4, 4]]
        with pytest.raises(RequestPending, match="no rollout"):
            envs.recv_rollout()


def test_a_policy_that_comes_with_a_uniform_rollout_is_held(serve):
    with connected(serve) as envs:
        envs.send_rollout(Rollout(4, "uniform", SMALL))
        assert len(envs.recv_rollout()) == 4
        envs.send_rollout(rollout(4, steps=4))
        assert len(envs.recv_rollout()) == 4
        envs.send_rollout(Rollout(4, "deterministic", RolloutPolicy("greedy", SMALL.model)))
        with pytest.raises(errors.InvalidPolicy, match="sent as 'categorical', it is no 'greedy'"):
            envs.recv_rollout()


def test_what_a_policy_is_made_of_is_said_where_it_is_wrong():
    with pytest.raises(TypeError, match=r"bytes of an ONNX file, not str: Path\(...\).read_bytes\(\)"):
        RolloutPolicy("categorical", "policy.onnx")
    with pytest.raises(errors.WireError, match="called 'sample'; there are deterministic, categorical"):
        Rollout(4, "sample").request(b"")


def test_a_rollout_is_only_as_long_as_its_chance_fits_into_memory(serve, monkeypatch):
    monkeypatch.setattr("rlbridge.server.rollout._MAX_DRAWN", 100)
    with connected(serve) as envs:
        envs.send_rollout(rollout(0, steps=100_000))
        assert len(envs.recv_rollout()) == 100 // (ROWS * 2)


def test_a_request_that_nobody_reads_is_given_up_on_in_time(serve_process):
    process, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    with begun(url) as envs:
        process.send_signal(signal.SIGSTOP)
        with impatient(envs):
            envs.send_rollout(rollout(0, policy=padded(12_000_000)))
            envs.send_rollout(rollout(5))
            with pytest.raises(errors.DeadlineExceeded):
                envs.recv_rollout()
        process.send_signal(signal.SIGCONT)
        assert [len(envs.recv_rollout()) for _ in range(2)] == [5, 5]


@pytest.mark.parametrize("then", ["close", "recv"])
def test_an_interrupt_while_waiting_hangs_nothing(serve, bind, monkeypatch, then):
    monkeypatch.setattr(Gate, "let_go", let_go := threading.Event())
    monkeypatch.setattr(Gate, "entered", entered := threading.Event())
    with connected(serve, [Offer("env", Gate)], bind) as envs:
        noticed = threading.Event()

        def interrupt() -> None:
            assert entered.wait(20)
            os.kill(os.getpid(), signal.SIGINT)
            while not noticed.wait(5):  # Python overlooks one between letting its lock go and beginning to wait
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            envs.step(np.ones(ROWS, np.int64))
        noticed.set()
        let_go.set()
        if then == "recv":
            assert envs.recv()[4]["total"].tolist() == [1, 1]


def test_a_closed_environment_opens_nothing(serve, bind):
    server = serve("CartPole-v1", bind=bind)
    with begun(server.urls[0]) as envs:
        envs.close()
        for call in (envs.reset, lambda: envs.send_rollout(rollout(0)), lambda: envs.step(np.ones(ROWS, np.int64))):
            with pytest.raises(errors.SessionExpired, match="is closed"):
                call()
        assert not server.host._sessions
