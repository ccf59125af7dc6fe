"""Runs steered from outside, as real processes."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlbridge.config import ConfigError, load_config
from rlbridge.runs.folder import RunFolderError
from rlbridge.runs.lock import RunLock, held, holder
from rlbridge.runs.manager import Runs, waited
from rlbridge.runs.process import tail

LONG = {
    "env": {"target": "CartPole-v1", "num_envs": 2},
    "algorithm": {"name": "ppo", "total_steps": 10_000_000, "rollout_steps": 64},
    "evaluation": {"every": 0},
    "checkpoint": {"every": 512},
    "run": {"tensorboard": False},
}
SECONDS = 60.0


@pytest.fixture
def runs(tmp_path):
    runs = Runs(tmp_path / "runs")
    yield runs
    for name in runs.names():
        runs.kill(name)


def test_a_run_pauses_goes_on_stops_and_goes_on(runs):
    name = runs.start(load_config(LONG))
    assert waited(runs, name, SECONDS, "running").steps > 0
    runs.pause(name)
    paused = waited(runs, name, SECONDS, "paused")
    with pytest.raises(RunFolderError, match="paused"):
        runs.delete(name)
    # No news can come while it is held: what it has done is what it had done.
    assert runs.standing(name).steps == paused.steps
    runs.resume(name)
    assert waited(runs, name, SECONDS, "running").status == "running"
    with pytest.raises(RunFolderError, match="goes on already"):
        runs.resume(name)
    runs.stop(name)
    stopped = waited(runs, name, SECONDS, "stopped")
    assert (runs.path(name) / "checkpoints" / f"step_{stopped.steps}").is_dir()
    runs.resume(name)
    waited(runs, name, SECONDS, "running")
    runs.pause(name)
    waited(runs, name, SECONDS, "paused")
    runs.stop(name)  # a run that is held stops, too
    assert waited(runs, name, SECONDS, "stopped").steps >= stopped.steps


def test_a_paused_run_ends_with_the_weights_of_one_that_was_not(runs):
    settings = {**LONG, "algorithm": {**LONG["algorithm"], "total_steps": 4_096}}
    plain = runs.start(load_config(settings))
    held = runs.start(load_config(settings))
    waited(runs, held, SECONDS, "running", "finished")
    runs.pause(held)
    waited(runs, held, SECONDS, "paused", "finished")
    runs.resume(held)
    weights = []
    for name in (plain, held):
        assert waited(runs, name, SECONDS, "finished").status == "finished"
        weights.append((runs.path(name) / "checkpoints" / "step_4096" / "tensors.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_end_of_who_started_it_is_not_the_end_of_a_run(runs):
    """SIGKILL to the starter's whole process group: the run goes on, and somebody else can stop it."""
    starter = (
        "import json, sys, time; from pathlib import Path; from rlbridge.config import load_config; "
        "from rlbridge.runs.manager import Runs; "
        "print(Runs(Path(sys.argv[1])).start(load_config(json.loads(sys.argv[2]))), flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", starter, str(runs.folder), json.dumps(LONG)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        name = process.stdout.readline().strip()
        before = waited(runs, name, SECONDS, "running")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    assert before.status == "running"
    runs.stop(name)
    assert waited(runs, name, SECONDS, "stopped").steps >= before.steps


def test_a_killed_run_is_called_so_and_goes_on(runs):
    name = runs.start(load_config(LONG))
    waited(runs, name, SECONDS, "running")
    runs.kill(name)
    assert waited(runs, name, SECONDS, "killed").status == "killed"
    runs.resume(name)
    assert waited(runs, name, SECONDS, "running").status == "running"
    runs.kill(name)


def test_a_run_that_cannot_start_says_why(runs):
    broken = load_config({**LONG, "env": {"target": "grpc://127.0.0.1:1", "retry_for": 0}})
    name = runs.start(broken)
    failed = waited(runs, name, SECONDS, "failed")
    assert "nothing answers at grpc://127.0.0.1:1" in failed.why
    again = Runs(runs.folder)  # another one, later
    assert again.standing(name).status == "failed"
    assert "nothing answers" in again.standing(name).why
    again.delete(name)
    assert again.names() == []


def test_renaming_and_deleting_leave_nothing_behind(runs):
    settings = {**LONG, "algorithm": {**LONG["algorithm"], "total_steps": 256}}
    name = runs.start(load_config(settings))
    assert waited(runs, name, SECONDS, "finished").status == "finished"
    assert runs.disk_use(name) > 1_000
    runs.rename(name, "other")
    assert runs.names() == ["other"]
    assert runs.config("other").run.name == "other"
    with pytest.raises(RunFolderError, match="already"):
        runs.rename("other", "other")
    runs.delete("other")
    assert runs.names() == []
    assert [path.name for path in runs.folder.iterdir()] == [".launches"]
    assert not list((runs.folder / ".launches").iterdir())


@pytest.mark.parametrize("name", ["..", "../up", "/etc", "a/b", ".hidden", "", "x" * 101])
def test_no_name_leads_out_of_the_folder(runs, name):
    for act in (runs.standing, runs.delete, runs.stop, runs.pause, runs.kill, runs.resume, runs.config, runs.disk_use):
        with pytest.raises(RunFolderError):
            act(name)


def test_a_link_out_of_the_folder_is_no_run(runs, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.yaml").write_text("{}")
    Path(runs.folder / "link").symlink_to(outside)
    with pytest.raises(RunFolderError):
        runs.delete("link")
    assert (outside / "config.yaml").exists()


def test_a_second_start_does_not_change_what_the_first_one_trains_with(runs):
    first, second = ({**LONG, "run": {"tensorboard": False, "name": "one", "seed": seed}} for seed in (1, 2))
    runs.start(load_config(first))
    for other in (runs, Runs(runs.folder)):
        with pytest.raises(RunFolderError, match="being started already"):
            other.start(load_config(second))
        with pytest.raises(RunFolderError, match="being started already"):
            other.start_again("one")
    assert waited(runs, "one", SECONDS, "running").status == "running"
    assert runs.config("one").run.seed == 1


def test_of_those_who_start_a_run_at_once_one_does(runs):
    studios = [Runs(runs.folder) for _ in range(8)]

    def start(seed):
        try:
            return studios[seed].start(load_config({**LONG, "run": {"name": "one", "seed": seed}})) and seed
        except RunFolderError:
            return None

    with ThreadPoolExecutor(8) as pool:
        done = [seed for seed in pool.map(start, range(8)) if seed is not None]
    assert len(done) == 1
    assert runs.config("one").run.seed == done[0]


def test_what_a_failed_start_left_may_be_replaced(runs):
    settings = {**LONG, "run": {"tensorboard": False, "name": "one"}}
    runs.start(load_config({**settings, "env": {"target": "grpc://127.0.0.1:1", "retry_for": 0}}))
    assert waited(runs, "one", SECONDS, "failed").status == "failed"
    runs.start(load_config({**settings, "run": {**settings["run"], "overwrite": True}}))
    assert waited(runs, "one", SECONDS, "running").target == "CartPole-v1"


def test_another_studio_knows_that_a_run_is_starting_and_ends_it(runs):
    other = Runs(runs.folder)
    name = runs.start(load_config(LONG))
    os.kill(runs._launches.last(name).pid, signal.SIGSTOP)  # so that it comes no further
    assert other.standing(name).status == "starting"
    with pytest.raises(RunFolderError, match="starting"):
        other.delete(name)
    other.stop(name)
    os.kill(runs._launches.last(name).pid, signal.SIGCONT)
    assert waited(other, name, SECONDS, "failed").status == "failed"
    assert runs.standing(name).status == "failed"


@pytest.mark.parametrize("here", [True, False])
def test_a_run_that_hangs_before_it_has_a_folder_is_killed(runs, here):
    name = runs.start(load_config(LONG))
    os.kill(runs._launches.last(name).pid, signal.SIGSTOP)
    assert holder(runs.path(name) / "lock") is None
    (runs if here else Runs(runs.folder)).kill(name)
    assert waited(runs, name, SECONDS, "failed").status == "failed"


def test_a_number_that_is_used_again_is_not_taken_for_a_run(runs):
    name = runs.start(load_config(LONG))
    pid = runs._launches.last(name).pid
    runs.kill(name)
    waited(runs, name, SECONDS, "failed")
    file = runs.folder / ".launches" / f"{name}.json"
    told = json.loads(file.read_text())
    for facts in ({**told, "pid": os.getpid()}, {**told, "pid": 0}, {**told, "pid": [pid]}, [], {"pid": pid}):
        file.write_text(json.dumps(facts))
        other = Runs(runs.folder)
        other.stop(name)
        other.kill(name)
        assert other.standing(name).status == "failed"


def test_a_pause_is_taken_back_before_it_has_begun(runs):
    name = runs.start(load_config(LONG))
    waited(runs, name, SECONDS, "running")
    process, _ = holder(runs.path(name) / "lock")
    os.kill(process, signal.SIGSTOP)  # so that it has not paused yet
    runs.pause(name)
    runs.resume(name)
    assert not (runs.path(name) / "pause").exists()
    with pytest.raises(RunFolderError, match="goes on already"):
        runs.resume(name)


def a_run(runs, name="edited", config="{}", state="{}"):
    folder = runs.folder / name
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    (folder / "state.json").write_text(state)
    return folder


@pytest.mark.parametrize(
    "state",
    [
        '{"status": "stopped", "steps": Infinity, "updated": NaN, "best": Infinity, "metrics": {"a": NaN, "b": 1}}',
        f'{{"status": "stopped", "steps": 1{"0" * 400}, "metrics": {{"a": -1{"0" * 400}, "b": 1}}}}',
        '{"status": "stopped", "steps": "7", "best": [], "metrics": {"a": {":x": 1}, "b": 1}, "reason": {}}',
    ],
)
def test_what_is_no_number_in_a_state_is_not_told(runs, state):
    a_run(runs, state=state)
    now = runs.standing("edited")
    assert (now.status, now.steps, now.updated, now.best, now.why) == ("stopped", 0, 0.0, None, "")
    assert now.metrics == {"b": 1.0}


def test_a_state_too_deep_to_read_is_none(runs):
    a_run(runs, state="[" * 100_000)
    assert runs.standing("edited").status == "killed"


@pytest.mark.parametrize("config", ["env: &a {kwargs: *a}\n", "run: {name: 2024-13-45}\n", "run: {2024-01-01: 1}\n"])
def test_a_config_that_cannot_be_read_is_refused_as_one_and_does_not_hide_its_run(runs, config):
    folder = a_run(runs, config=config, state='{"status": "stopped", "steps": 7}')
    assert runs.standing("edited").steps == 7
    with pytest.raises(ConfigError):
        runs.config("edited")
    (folder / "config.yaml").rename(runs.folder / ".launches" / "early.yaml")
    assert runs.standing("early").status == "failed"


def test_whatever_lies_where_a_lock_should_can_be_looked_at(runs, monkeypatch):
    folder = a_run(runs)
    (folder / "lock").mkdir()
    assert runs.standing("edited").status == "killed"
    assert holder(folder / "lock") is None
    (folder / "lock").rmdir()
    os.mkfifo(folder / "lock")
    assert not held(folder / "lock")
    (folder / "lock").unlink()
    (folder / "lock").write_text("process 0 on here")  # a signal to number 0 is one to ourselves
    with (folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert held(folder / "lock")
        assert holder(folder / "lock") is None

    def refused(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    assert held(folder / "lock")  # somebody else's, and not left behind: so it is held


def test_those_who_look_do_not_take_each_other_for_a_run(tmp_path):
    path = tmp_path / "lock"
    path.write_text(f"process 1 on {os.uname().nodename}")  # of a run that was killed
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # somebody else is looking just now
        assert not held(path)
        assert holder(path) is None
    with ThreadPoolExecutor(4) as lookers:
        assert not any(lookers.map(held, [path] * 4_000))
    lock = RunLock(path)
    assert holder(path) == (os.getpid(), os.uname().nodename)
    lock.release()
    assert not held(path)


def test_links_within_a_run_folder_are_not_followed(runs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("- do not tell\n")
    folder = runs.folder / "first"
    folder.mkdir()
    (folder / "config.yaml").symlink_to(secret)
    (folder / "log.txt").symlink_to(secret)
    with pytest.raises(ConfigError) as refused:
        runs.config("first")
    assert "do not tell" not in str(refused.value)
    assert tail(folder / "log.txt") == ""
