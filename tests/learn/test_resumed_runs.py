"""A run that is stopped, or killed, and resumed ends in the bits of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import Counter, collector_for, learner_for
from typer.testing import CliRunner

import rlbridge
from rlbridge.cli import app
from rlbridge.config import ConfigError, load_config
from rlbridge.learn import CheckpointError, RunFolderError, Stopped, load_run, weights_digest
from rlbridge.learn.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from rlbridge.learn.stops import Stops
from rlbridge.runs.folder import RunFolder
from tests.conftest import ROOT

OFF_POLICY = {"learning_starts": 60, "batch_size": 16, "updates_per_step": 0.25}
ALGORITHMS = {
    "ppo": ("CartPole-v1", {"name": "ppo", "rollout_steps": 32, "minibatch_size": 32, "epochs": 2}),
    "dqn": ("CartPole-v1", {"name": "dqn", "double": False, **OFF_POLICY}),
    "d3qn": (
        "CartPole-v1",
        {"name": "dqn", "dueling": True, "n_step": 3, "replay": "prioritised", "replay_size": 200, **OFF_POLICY},
    ),
    "ddpg": ("Pendulum-v1", {"name": "ddpg", "noise": "ornstein_uhlenbeck", "noise_std": 0.3, **OFF_POLICY}),
    "td3": ("Pendulum-v1", {"name": "td3", "normalise_observations": True, **OFF_POLICY}),
    "sac": ("Pendulum-v1", {"name": "sac", **OFF_POLICY}),
    "modsac": ("Pendulum-v1", {"name": "sac", "modified": True, **OFF_POLICY}),
}


def settings(folder, name, which="td3", total_steps=300, **sections):
    target, algorithm = ALGORITHMS[which]
    base = {
        "env": {"target": target, "num_envs": 2},
        "algorithm": {**algorithm, "total_steps": total_steps},
        "network": {"hidden": [8]},
        "evaluation": {"every": 200, "episodes": 1},
        "checkpoint": {"every": 130},
        "run": {"name": name, "dir": str(folder), "tensorboard": False},
    }
    return {key: {**base.get(key, {}), **sections.get(key, {})} for key in {*base, *sections}}


def rows(folder):
    """What was written to metrics.jsonl, times apart."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds" and not k.startswith(("time/", "bridge/"))} for row in read]


def assert_same_run(one, other):
    assert weights_digest(one.policy) == weights_digest(other.policy)
    assert rows(one.dir) == rows(other.dir)
    assert (one.dir / "episodes.csv").read_text() == (other.dir / "episodes.csv").read_text()
    ours, theirs = (load_checkpoint(list_checkpoints(run.dir / "checkpoints")[-1]) for run in (one, other))
    assert ours["counters"] == theirs["counters"]
    assert flattened(ours["learner"]) == flattened(theirs["learner"])
    assert flattened(ours["loop"]) == flattened(theirs["loop"])


def flattened(state, path=""):
    if isinstance(state, dict):
        return {name: part for key in state for name, part in flattened(state[key], f"{path}/{key}").items()}
    return {path: state.tolist() if hasattr(state, "tolist") else state}


def stop_at(step):
    def callback(at, values):
        if at >= step:
            raise Stopped("enough")

    return callback


def breaking_off(monkeypatch, calls):
    """Let the ``calls``-th look for a reason to stop find one, wherever that is: in a rollout, in an evaluation."""
    counter, check = count(1), Stops.check

    def checked(self):
        if next(counter) == calls:
            raise Stopped("enough")
        check(self)

    monkeypatch.setattr(Stops, "check", checked)


@pytest.fixture(autouse=True, scope="module")
def without_pictures():
    """Nor exported policies: they take longer than all the training here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlbridge.learn.trainer.draw_curve", lambda *args: None)
        patch.setattr("rlbridge.learn.trainer.export_at_end", lambda *args: None)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that nothing disturbs, trained once for each algorithm."""
    folder, runs = tmp_path_factory.mktemp("undisturbed"), {}

    def trained(which):
        if which not in runs:
            runs[which] = rlbridge.train(settings(folder, which, which), progress=False)
        return runs[which]

    return trained


@pytest.mark.parametrize("which", ALGORITHMS)
def test_train_stop_and_resume_is_train(which, tmp_path, undisturbed):
    run = rlbridge.train(settings(tmp_path, "r", which), progress=False, callback=stop_at(200))
    assert 200 <= run.steps < 300
    assert run.stop_reason == "enough"
    assert load_checkpoint(run.dir / "checkpoints" / f"step_{run.steps}")["environments"] == "restored"
    resumed = rlbridge.resume(run.dir, progress=False)
    assert resumed.stop_reason == "total_steps"
    assert_same_run(resumed, undisturbed(which))


@pytest.mark.parametrize(("which", "calls"), [("ppo", 77), ("ppo", 131), ("td3", 1), ("td3", 131)])
def test_it_does_not_matter_where_it_stops(which, calls, tmp_path, undisturbed, monkeypatch):
    """Before the first step, within a rollout, within an evaluation; and once more right after."""
    with monkeypatch.context() as patch:
        breaking_off(patch, calls)
        run = rlbridge.train(settings(tmp_path, "r", which), progress=False)
    assert run.stop_reason == "enough"
    with monkeypatch.context() as patch:
        breaking_off(patch, 3)
        assert rlbridge.resume(run.dir, progress=False).stop_reason == "enough"
    assert_same_run(rlbridge.resume(run.dir, progress=False), undisturbed(which))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number, tmp_path, undisturbed):
    def callback(step, values):
        if step == 200:
            os.kill(os.getpid(), number)

    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=callback)
    assert run.stop_reason == number.name
    assert_same_run(rlbridge.resume(run.dir, progress=False), undisturbed("td3"))


KILLED = {"checkpoint": {"every": 20, "keep": 2}, "evaluation": {"every": 300, "episodes": 1}}


def process_of(arguments):
    command = [sys.executable, "-m", "rlbridge", *arguments, "--quiet"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_when(process, condition):
    """Kill the process once the condition holds; if it ends by itself before that, so be it."""
    try:
        while process.poll() is None and not condition():
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()


def last_step(folder):
    return max((int(path.name[5:]) for path in list_checkpoints(folder / "checkpoints")), default=-1)


def test_killed_three_times(tmp_path):
    moments = random.Random(0)
    expected = rlbridge.train(settings(tmp_path, "undisturbed", total_steps=600, **KILLED), progress=False)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings(tmp_path, "r", total_steps=600, **KILLED)))
    folder, goal = tmp_path / "r", 0
    for arguments in (["train", str(tmp_path / "run.yaml")], ["resume", str(folder)], ["resume", str(folder)]):
        goal += moments.randrange(60, 180)
        wait = moments.uniform(0.0, 0.03)

        def due(goal=goal, wait=wait):
            return last_step(folder) >= goal and (time.sleep(wait) or True)

        kill_when(process_of(arguments), due)
        assert goal <= last_step(folder) < 600
        assert (folder / "lock").exists()  # of a dead process: it is taken over
    assert_same_run(rlbridge.resume(folder, progress=False), expected)
    left = [path.name for path in (*folder.iterdir(), *(folder / "checkpoints").iterdir())]
    assert not [name for name in left if name.startswith(".") or name == "lock"]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["ppo", "d3qn"])
def test_killed_at_twenty_moments(which, tmp_path):
    moments = random.Random(1)
    expected = rlbridge.train(settings(tmp_path, "undisturbed", which, 1_500, **KILLED), progress=False)
    for k in range(20):
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings(tmp_path, f"r{k}", which, 1_500, **KILLED)))
        folder, goal, wait = tmp_path / f"r{k}", moments.randrange(-1, 1_400), moments.uniform(0.0, 0.1)

        def due(folder=folder, goal=goal, wait=wait):
            return (folder / "config.yaml").exists() and last_step(folder) >= goal and (time.sleep(wait) or True)

        kill_when(process_of(["train", str(tmp_path / "run.yaml")]), due)
        resumed = rlbridge.resume(folder, progress=False)
        assert weights_digest(resumed.policy) == weights_digest(expected.policy), k
        assert rows(folder) == rows(expected.dir), k


def test_killed_before_the_first_checkpoint_begins_again(tmp_path, undisturbed):
    class Killed(BaseException):
        pass

    def die(step, values):
        raise Killed

    config = settings(tmp_path, "r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlbridge.learn.trainer.Trainer._fail", lambda self, error: None)  # the dead do nothing
        with pytest.raises(Killed):
            rlbridge.train(config, progress=False, callback=die)
    folder = tmp_path / "r"
    for path in list_checkpoints(folder / "checkpoints"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    assert_same_run(rlbridge.resume(folder, progress=False), undisturbed("td3"))


class Walled(gymnasium.Env):
    """A walk with a wall somewhere; its ``world`` is nothing that can be written down."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.world = object()

    def _observe(self):
        return np.array([self.place, self.wall], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 30
        self.place, self.wall = 0.0, float(self.np_random.uniform(1.0, 4.0))
        return self._observe(), {}

    def step(self, action):
        self.place += (2 * int(action) - 1) * float(self.np_random.uniform(0.0, 1.0))
        self.left -= 1
        return self._observe(), -abs(self.place), abs(self.place) > self.wall, self.left == 0, {}


@pytest.mark.parametrize("which", ["ppo", "d3qn"])
def test_restarted_episodes_make_it_exact_over_the_network(which, tmp_path, serve):
    url = serve(f"{__file__}:Walled").urls[0]
    sections = {"env": {"target": url}, "checkpoint": {"every": 130, "restart_episodes": True, "keep": 1}}
    expected = rlbridge.train(settings(tmp_path, "undisturbed", which, **sections), progress=False)
    run = rlbridge.train(settings(tmp_path, "r", which, **sections), progress=False, callback=stop_at(200))
    at = run.steps
    state = load_checkpoint(run.dir / "checkpoints" / f"step_{at}")
    assert (state["environments"], state["exact"]) == ("restarted", False)  # stopped between two checkpoints
    resumed = rlbridge.resume(run.dir, progress=False)
    assert_same_run(resumed, expected)
    assert f"resumed from step_{192 if which == 'ppo' else 130};" in (run.dir / "log.txt").read_text()
    assert load_run(run.dir).steps == resumed.steps
    plain = rlbridge.train(
        settings(tmp_path, "plain", which, env={"target": url}, checkpoint={"every": 130}), progress=False
    )
    assert weights_digest(plain.policy) != weights_digest(expected.policy)  # else nothing was restarted


def test_elsewhere_new_episodes_begin_and_training_is_not_disturbed(tmp_path):
    which, env = "d3qn", {"env": {"target": f"{__file__}:Walled"}}
    often, never = (
        rlbridge.train(settings(tmp_path, f"every-{every}", which, **env, checkpoint={"every": every}), progress=False)
        for every in (20, 0)
    )
    assert weights_digest(often.policy) == weights_digest(never.policy)
    run = rlbridge.train(settings(tmp_path, "r", which, **env), progress=False, callback=stop_at(200))
    assert load_checkpoint(run.dir / "checkpoints" / f"step_{run.steps}")["environments"] == "restarted"
    resumed = rlbridge.resume(run.dir, progress=False)
    assert resumed.steps >= 300
    log = (run.dir / "log.txt").read_text()
    assert "the environments begin new episodes" in log
    assert "cannot be restored (Walled.world is or holds a builtins.object" in log


def test_what_was_written_after_the_checkpoint_is_cut_off(tmp_path, undisturbed):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    with (run.dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 201, "eval/return_mean": 7.0}\n{"step": 202, "eval/ret')
    with (run.dir / "episodes.csv").open("a") as file:
        file.write("201,7.0,7\n202,")
    assert_same_run(rlbridge.resume(run.dir, progress=False), undisturbed("td3"))


def test_an_edited_file_is_cut_by_step(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    (run.dir / "metrics.jsonl").write_text('{"step": 200}\nnonsense\n[]\n{"step": 201}\n{"step": 1')
    rlbridge.resume(run.dir, progress=False)
    assert [row["step"] for row in rows(run.dir)] == [200, 300, 300]


def test_tensorboard_curves_are_not_doubled(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = settings(tmp_path, "r", run={"tensorboard": True}, checkpoint={"every": 200})
    run = rlbridge.train(config, progress=False, callback=stop_at(300))
    newest = list_checkpoints(run.dir / "checkpoints")[-1]
    for file in newest.iterdir():
        file.write_bytes(b"")
    rlbridge.resume(run.dir, progress=False)
    events = accumulator.EventAccumulator(str(run.dir / "tensorboard")).Reload().Scalars("eval/return_mean")
    assert [event.step for event in events] == [200, 300]


def test_a_torn_checkpoint_is_passed_over_aloud(tmp_path, undisturbed, capsys):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    file = run.dir / "checkpoints" / "step_200" / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    resumed = rlbridge.resume(run.dir, progress=False)
    said = capsys.readouterr().err
    assert "step_200/tensors.safetensors is torn" in said
    assert "Going on from step_130." in said
    assert said.splitlines()[0].partition("rlbridge: ")[2] in (run.dir / "log.txt").read_text()
    assert (run.dir / "checkpoints" / "step_200.aside").exists()
    assert_same_run(resumed, undisturbed("td3"))


def test_no_whole_checkpoint_is_a_clear_error(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    before = (run.dir / "metrics.jsonl").read_bytes()
    for path in list_checkpoints(run.dir / "checkpoints"):
        (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"is whole:\n.*step_200.*\n.*step_130"):
        rlbridge.resume(run.dir, progress=False)
    assert (run.dir / "metrics.jsonl").read_bytes() == before
    assert not (run.dir / "lock").exists()


def test_one_process_at_a_time(tmp_path):
    config = settings(tmp_path, "r")
    refused = []

    def callback(step, values):
        for attempt in (
            lambda: rlbridge.resume(tmp_path / "r", progress=False),
            lambda: rlbridge.train(config, progress=False),
            lambda: rlbridge.train(config, ["run.overwrite=true"], progress=False),
        ):
            with pytest.raises(RunFolderError, match=rf"in use by process {os.getpid()} on "):
                attempt()
            refused.append(step)

    run = rlbridge.train(config, progress=False, callback=callback)
    assert len(refused) >= 6
    assert load_run(run.dir).steps == 300


def test_a_lock_of_another_live_process_is_respected_and_a_dead_ones_is_not(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    code = (
        "import fcntl, os, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write(f'process {os.getpid()} on here'); file.flush(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run.dir / "lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {holder.pid}"):
            rlbridge.resume(run.dir, progress=False)
    finally:
        holder.kill()
        holder.communicate()
    assert (run.dir / "lock").exists()
    assert rlbridge.resume(run.dir, progress=False).steps == 300


@pytest.mark.parametrize("which", ["td3", "sac"])
def test_more_steps_are_as_if_asked_for_from_the_start(which, tmp_path):
    """Where no schedule depends on the number of steps."""
    quiet = {"evaluation": {"every": 0}, "checkpoint": {"every": 100}}
    expected = rlbridge.train(settings(tmp_path, "long", which, 300, **quiet), progress=False)
    short = rlbridge.train(settings(tmp_path, "short", which, 150, **quiet), progress=False)
    resumed = rlbridge.resume(short.dir, ["algorithm.total_steps=300"], progress=False)
    assert weights_digest(resumed.policy) == weights_digest(expected.policy)
    assert load_config(short.dir / "config.yaml").algorithm.total_steps == 300  # a plain resume would go on to there


def test_nothing_left_to_do(tmp_path, undisturbed):
    run = undisturbed("td3")
    before = {path: path.read_bytes() for path in run.dir.rglob("*") if path.is_file()}
    resumed = rlbridge.resume(run.dir, progress=False)
    assert (resumed.stop_reason, resumed.steps) == ("nothing_left", 300)
    assert weights_digest(resumed.policy) == weights_digest(run.policy)
    assert {path: path.read_bytes() for path in run.dir.rglob("*") if path.is_file()} == before


def test_a_reached_return_is_the_end_until_more_is_asked_for(tmp_path):
    config = settings(tmp_path, "r", evaluation={"stop_at_return": -1e9})
    assert rlbridge.train(config, progress=False).stop_reason == "target_return"
    assert rlbridge.resume(tmp_path / "r", progress=False).stop_reason == "nothing_left"
    further = rlbridge.resume(tmp_path / "r", ["evaluation.stop_at_return=0"], progress=False)
    assert (further.stop_reason, further.steps) == ("total_steps", 300)


def test_a_stop_file_of_last_time_does_not_stop_this_time(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    (run.dir / "stop").touch()
    assert rlbridge.resume(run.dir, progress=False).stop_reason == "total_steps"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("algorithm.name=ppo", "algorithm.name"),
        ("network.hidden=[16]", "network.hidden"),
        ("env.num_envs=3", "env.num_envs"),
        ("algorithm.replay=prioritised", "algorithm.replay"),
        ("algorithm.replay_size=5000", "algorithm.replay_size"),
        ("run.seed=1", "run.seed"),
        ("run.name=other", "run.name"),
    ],
)
def test_what_cannot_change_is_refused_by_name(override, key, undisturbed):
    folder = undisturbed("td3").dir
    before = (folder / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=rf"^{key} cannot change in the middle of a run \("):
        rlbridge.resume(folder, [override], progress=False)
    assert (folder / "config.yaml").read_bytes() == before


def test_a_config_edited_by_hand_is_held_against_the_checkpoint(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    config = run.dir / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(ConfigError, match=r"run\.seed cannot change"):
        rlbridge.resume(run.dir, progress=False)


def test_what_does_not_fit_names_the_tensor_and_both_shapes(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    path = run.dir / "checkpoints" / "step_200"
    state = load_checkpoint(path)

    def refused(change, words):
        altered = {**state, "learner": {**state["learner"], "policy": dict(state["learner"]["policy"])}}
        change(altered)
        save_checkpoint(path, altered)
        with pytest.raises(CheckpointError, match=words):
            rlbridge.resume(run.dir, progress=False)

    weight = state["learner"]["policy"]["trunk.weight0"]
    refused(
        lambda s: s["learner"]["policy"].update({"trunk.weight0": weight[:, :2].clone()}),
        r"learner/policy/trunk\.weight0 is torch\.float32 \(8, 2\), this run's is torch\.float32 \(8, 3\)",
    )
    refused(lambda s: s["learner"]["policy"].pop("trunk.weight0"), r"has no learner/policy/trunk\.weight0")
    refused(lambda s: s["learner"].update(updates="many"), "learner/updates is a str, this run's a int")
    refused(lambda s: s.update(algorithm={"name": "ppo"}), "is a checkpoint of ppo; the run's algorithm is td3")
    refused(lambda s: s.update(action_space={"kind": "Discrete", "n": 3, "start": 0}), r"trained with actions in Disc")
    refused(lambda s: s.update(counters=None), "counters|no checkpoint")
    refused(lambda s: s.update(collector={"transitions": "x"}), "does not suit")
    refused(lambda s: s.pop("metrics"), "metrics")
    save_checkpoint(path, state)
    assert rlbridge.resume(run.dir, progress=False).steps == 300


def test_half_an_update_is_not_gone_on_from(tmp_path, monkeypatch, undisturbed):
    from rlbridge.learn.td3 import TD3

    update, calls = TD3.update, count()

    def breaks(self, batch, **more):
        metrics = update(self, batch, **more)
        if next(calls) == 40:
            raise KeyboardInterrupt  # half of what an update does is done
        return metrics

    with monkeypatch.context() as patch:
        patch.setattr(TD3, "update", breaks)
        with pytest.raises(KeyboardInterrupt):
            rlbridge.train(settings(tmp_path, "r"), progress=False)
    assert [path.name for path in list_checkpoints(tmp_path / "r" / "checkpoints")] == ["step_130"]
    assert_same_run(rlbridge.resume(tmp_path / "r", progress=False), undisturbed("td3"))


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match=r"no config\.yaml"):
        rlbridge.resume(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_at_birth_does_not_take_its_name(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "lock").write_text("process 1 on nowhere")
    (folder / ".config.yaml.draft").write_text("env: {")
    run = rlbridge.train(settings(tmp_path, "r", total_steps=130), progress=False)
    assert RunFolder.open(run.dir).path == Path(folder)


def test_the_command(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r"), progress=False, callback=stop_at(200))
    resume = ["resume", str(run.dir)]
    done = CliRunner().invoke(app, [*resume, "algorithm.total_steps=300", "--json", "--quiet"])
    assert json.loads(done.stdout) == {"dir": str(run.dir), "steps": 300, "stop_reason": "total_steps"}
    assert "resumed from step_200; the environments are restored" in (run.dir / "log.txt").read_text()
    again = CliRunner().invoke(app, resume)
    assert again.exit_code == 0
    assert again.stdout.startswith("nothing left to do")
    assert "algorithm.total_steps to more than 300" in again.stdout
    wrong = CliRunner().invoke(app, [*resume, "network.hidden=[9]"])
    assert wrong.exit_code == 2
    assert CliRunner().invoke(app, [*resume, "faster"]).exit_code == 2


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_episodes_under_way_are_truncated_where_new_ones_begin(mode):
    """A rollout that is half full goes on after the cut; what is cut off counts as no episode."""
    envs = [
        SyncVectorEnv([lambda: Counter(4), lambda: Counter(7)], autoreset_mode=AutoresetMode(mode)) for _ in range(2)
    ]
    learner = learner_for(envs[0], name="ppo", rollout_steps=9, minibatch_size=9)
    before, after = (collector_for(each, learner.policy) for each in envs)
    looks = count()

    def check():
        if next(looks) == 6:
            raise Stopped("enough")

    with pytest.raises(Stopped):
        before.collect(learner.rollout(2), check)
    state = before.state_dict()
    after.load_state_dict(state, same_environments=False)
    assert after.observation is None
    rollout = learner.rollout(2)
    after.collect(rollout)
    assert rollout.truncated[5].all()
    assert {i: rollout.final[5, i].tolist() for i in (0, 1)} == {
        0: [1.0, 2.0] if mode == "SameStep" else [1.0, 1.0],
        1: [0.0, 6.0],
    }
    assert rollout.observation_np[6].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert [(episode.length, episode.total) for episode in after.take_episodes()] == [(4, 10.0)]
