"""Sessions outlive connections, trainers and, for batches, servers."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlbridge
from rlbridge import errors
from rlbridge.server import ServerLimits
from tests.chaos.proxy import Faults, Proxy
from tests.conftest import ROOT
from tests.envs import Gate
from tests.patience import impatient
from tests.trajectory import digest


def test_a_connection_that_is_lost_is_made_again_inside_step(serve):
    env = rlbridge.make(serve("tests.envs:Counter").urls[0])
    env.reset(seed=0)
    for i in range(1, 5):
        env._session._link.drop()  # as a router would
        observation, *_, info = env.step(0)
        np.testing.assert_array_equal(observation, [0, i])
        assert info["total"] == i
        assert env._session.reconnects == 0  # nothing was under way
        if i == 3:
            break
    env.close()


def test_a_step_under_way_when_the_connection_breaks_is_finished_and_its_outcome_kept(serve):
    Gate.entered.clear()
    Gate.let_go.clear()
    env = rlbridge.make(serve("tests.envs:Gate").urls[0], timeout=1.0)
    env.reset(seed=0)

    def break_then_let_go():
        assert Gate.entered.wait(10)
        env._session._link._stream._call.cancel()
        Gate.let_go.set()

    breaker = threading.Thread(target=break_then_let_go)
    breaker.start()
    observation, *_, info = env.step(1)
    breaker.join(10)
    np.testing.assert_array_equal(observation, [0, 1])
    assert info["total"] == 1
    assert env._session.reconnects == 1
    env.close()


def test_a_step_that_was_broken_off_is_repeated_not_stepped_again(serve):
    Gate.entered.clear()
    Gate.let_go.clear()
    env = rlbridge.make(serve("tests.envs:Gate").urls[0])
    env.reset(seed=0)
    with impatient(env), pytest.raises(errors.DeadlineExceeded):
        env.step(1)
    with pytest.raises(errors.RequestPending, match=r"Repeat it to get its answer, or reset\(\)"):
        env.step(2)
    Gate.let_go.set()
    _, reward, *_, info = env.step(1)
    assert (reward, info["total"]) == (1.0, 1)
    _, reward, *_, info = env.step(2)
    assert (reward, info["total"]) == (2.0, 2)
    env.close()


def test_a_reset_after_a_step_that_was_broken_off_begins_anew(serve):
    Gate.entered.clear()
    Gate.let_go.clear()
    env = rlbridge.make(serve("tests.envs:Gate").urls[0])
    env.reset(seed=0)
    with impatient(env), pytest.raises(errors.DeadlineExceeded):
        env.step(1)
    Gate.let_go.set()
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, [1, 0])
    assert env.step(0)[-1]["total"] == 2
    env.close()


def test_another_process_takes_over_with_the_ticket_of_one_that_was_killed(serve):
    url = serve("tests.envs:Counter").urls[0]
    trainer = (
        "import rlbridge, sys, time\n"
        "env = rlbridge.make(sys.argv[1])\n"
        "env.reset(seed=0); env.step(1); env.step(2)\n"
        "print(env.ticket, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", trainer, url], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    ticket = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    env = rlbridge.make(url, resume=ticket)
    observation, reward, _, _, info = env.last_step
    np.testing.assert_array_equal(observation, [0, 2])
    assert (reward, info["total"]) == (2.0, 2)
    assert env.step(0)[-1]["total"] == 3
    env.close()
    with pytest.raises((errors.SessionExpired, errors.EnvLost)):
        rlbridge.make(url, resume=ticket)
    with pytest.raises(errors.WireError, match="not one that `ticket` gave"):
        rlbridge.make(url, resume="nonsense")


def test_whoever_is_taken_over_from_is_told(serve):
    url = serve("tests.envs:Counter").urls[0]
    first = rlbridge.make_vec(url, 2)
    first.reset(seed=0)
    second = rlbridge.make_vec(url, 2, resume=first.ticket)
    with pytest.raises(errors.Superseded, match="another client has resumed it"):
        first.step(np.array([0, 0]))
    np.testing.assert_array_equal(second.step(np.array([0, 0]))[0], [[0, 1], [0, 1]])
    with pytest.raises(ValueError, match="resume it with make_vec"):
        rlbridge.make(url, resume=second.ticket)
    first.close()
    second.close()


def test_the_lease_is_renewed_while_the_trainer_is_busy_and_runs_out_when_it_is_forgotten(serve):
    server = serve("tests.envs:Counter", limits=ServerLimits(lease_seconds=0.6))
    env = rlbridge.make(server.urls[0])
    env.reset(seed=0)
    session = next(iter(server.host._sessions.values()))
    renewed = threading.Event()
    touch, session.touch = session.touch, lambda: (touch(), renewed.set())
    for _ in range(6):  # two leases
        renewed.clear()
        assert renewed.wait(10)
    assert env.step(0)[-1]["total"] == 1
    closed = threading.Event()
    close, session.environment.close = session.environment.close, lambda: (close(), closed.set())
    del env  # without close: as a crash in a notebook does
    gc.collect()
    assert closed.wait(10)
    assert not server.host._sessions


FORK = """
import gc, os, sys, rlbridge
env = rlbridge.make(sys.argv[1])
env.reset(seed=0)
child = os.fork()
if child == 0:
    try:
        env.step(0)
    except rlbridge.errors.ForkedProcess as error:
        print(error, flush=True)
    env.close()
    gc.collect()
    own = rlbridge.make(sys.argv[1])  # a connection of its own is fine
    own.reset(seed=0)
    print(own.step(0)[-1]["total"], flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(env.step(0)[-1]["total"])
env.close()
"""


def test_a_fork_gets_a_clear_error_and_leaves_its_parents_session_alone(serve):
    url = serve("tests.envs:Counter").urls[0]
    done = subprocess.run([sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    said, childs, parents = done.stdout.splitlines()
    assert said.startswith("this environment was made in process")
    assert (childs, parents) == ("1", "1")


# --------------------------------------------------------------------------------------- after a server's death


@pytest.fixture
def mortal_server(serve_process):
    """A server process, and a way to kill it and start it again at the same address."""
    process, (url,) = serve_process("tests.envs:Counter", "--bind", "grpc://127.0.0.1:0")

    def restart() -> None:
        nonlocal process
        process.kill()
        process.wait(10)
        process, _ = serve_process("tests.envs:Counter", "--bind", url)

    return url, restart


def test_whoever_waits_for_a_server_is_told_so(serve, caplog, monkeypatch):
    monkeypatch.setattr("rlbridge.client.session._SILENCE", 0.0)
    server = serve("tests.envs:Counter")
    env = rlbridge.make(server.urls[0], retry_for=1.0)
    env.reset(seed=0)
    server.stop()
    with pytest.raises(errors.Unavailable):
        env.step(0)
    told = [record.getMessage() for record in caplog.records if record.name == "rlbridge.client"]
    assert len(told) == 1
    assert f"{server.urls[0]}: no answer, trying again for 1 s in all" in told[0]
    env.close()


def test_a_single_environment_is_lost_with_its_server(mortal_server):
    url, restart = mortal_server
    env = rlbridge.make(url)
    env.reset(seed=0)
    restart()
    with pytest.raises(errors.EnvLost, match="the environment's state"):
        env.step(0)
    env.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_batch_is_opened_anew_and_the_lost_rows_are_marked(mortal_server, mode):
    url, restart = mortal_server
    envs = rlbridge.make_vec(url, 2, autoreset_mode=mode)
    envs.reset(seed=5)
    envs.step(np.array([0, 0]))
    restart()
    observations, rewards, terminated, truncated, infos = envs.step(np.array([1, 1]))
    assert truncated.all()
    assert not terminated.any()
    assert not rewards.any()
    np.testing.assert_array_equal(infos["bridge_valid"], [False, False])
    if mode is AutoresetMode.SAME_STEP:
        np.testing.assert_array_equal(np.stack(infos["final_obs"]), [[0, 1], [0, 1]])
        assert "EnvLost" in infos["final_info"]["bridge_error"][0]
        np.testing.assert_array_equal(observations, [[0, 0], [0, 0]])
    else:
        np.testing.assert_array_equal(observations, [[0, 1], [0, 1]])
        assert "EnvLost" in infos["bridge_error"][0]
        if mode is AutoresetMode.NEXT_STEP:
            observations, rewards, _, truncated, infos = envs.step(np.array([1, 1]))
            assert not truncated.any()
            assert not rewards.any()
            assert "bridge_valid" not in infos
        else:
            observations, _ = envs.reset(options={"reset_mask": truncated})
        np.testing.assert_array_equal(observations[:, 1], [0, 0])
    observations, *_, infos = envs.step(np.array([1, 1]))
    np.testing.assert_array_equal(observations[:, 1], [1, 1])
    np.testing.assert_array_equal(infos["total"], [1, 1])
    assert envs.times_lost == 1
    envs.close()


def test_the_seed_of_a_life_after_death_follows_a_rule(mortal_server):
    url, restart = mortal_server
    seeds = []
    for _ in range(2):
        envs = rlbridge.make_vec(url, 2, autoreset_mode=AutoresetMode.SAME_STEP)
        envs.reset(seed=5)
        restart()
        *_, infos = envs.step(np.array([0, 0]))
        seeds.append(digest(infos["seed"]).hexdigest())
        assert infos["seed"][1] == infos["seed"][0] + 1
        envs.close()
    assert seeds[0] == seeds[1]


def test_a_batch_can_ask_for_the_exception_instead(mortal_server):
    url, restart = mortal_server
    envs = rlbridge.make_vec(url, 2, on_lost="raise")
    envs.reset(seed=0)
    restart()
    with pytest.raises(errors.EnvLost):
        envs.step(np.array([0, 0]))
    envs.close()


# ------------------------------------------------------------------------------------- who may come back, and when


def test_whoever_was_taken_over_from_does_not_take_the_session_back(serve):
    url = serve("tests.envs:Counter").urls[0]
    first = rlbridge.make_vec(url, 2)
    first.reset(seed=0)
    second = rlbridge.make_vec(url, 2, resume=first.ticket)
    first._session._link._stream._call.cancel()  # as the server does with a stream that leads nowhere
    with pytest.raises(errors.Superseded, match="held by another client"):
        first.step(np.array([0, 0]))
    np.testing.assert_array_equal(second.step(np.array([0, 0]))[0], [[0, 1], [0, 1]])
    first.close()
    second.close()


def test_a_resume_that_the_network_held_up_does_not_fence_off_its_own_sender(serve):
    server = serve("tests.envs:Counter")
    env = rlbridge.make(server.urls[0])
    env.reset(seed=0)
    link = env._session._link
    sent = []
    call = link.call
    link.call = lambda request, timeout: sent.append(request) or call(request, timeout)
    for _ in range(2):
        env._session._resume()
    with pytest.raises(errors.Superseded, match=r"attempt 1 to resume session .* came after attempt 2"):
        server.host.resume(sent[0])
    assert env.step(0)[-1]["total"] == 1
    env.close()


def test_a_server_that_dies_again_before_the_first_reset_is_waited_for_again(mortal_server):
    url, restart = mortal_server
    envs = rlbridge.make_vec(url, 2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=5)
    restart()
    reopen, deaths = envs._session.reopen, [restart]

    def reopen_and_die() -> None:
        reopen()
        if deaths:
            deaths.pop()()

    envs._session.reopen = reopen_and_die
    *_, infos = envs.step(np.array([0, 0]))
    np.testing.assert_array_equal(infos["bridge_valid"], [False, False])
    assert envs.times_lost == 2
    assert envs.step(np.array([0, 0]))[-1]["total"].tolist() == [1, 1]
    envs.close()


def test_a_connection_that_breaks_in_the_handshake_is_made_again(serve):
    url = serve("tests.envs:Counter").urls[0]
    with Proxy(url, Faults(every=(20, 20), most=2)) as proxy:
        env = rlbridge.make(proxy.url)
        env.reset(seed=0)
        assert proxy.counters()["cuts"] == 2
        env.close()
