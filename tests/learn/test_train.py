"""Whole runs: what they leave behind, how they end, and what they say when they cannot go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from rlbridge.config import ConfigError, load_config
from rlbridge.learn import (
    CheckpointError,
    NotFinite,
    RunFolderError,
    Stopped,
    UnsupportedSpace,
    load_run,
    train,
    weights_digest,
)
from rlbridge.learn.checkpoint import load_checkpoint

HERE = Path(__file__).parent


def settings(tmp_path, **sections):
    base = {
        "env": {"num_envs": 2},
        "algorithm": {"total_steps": 300, "rollout_steps": 50, "minibatch_size": 50, "epochs": 1},
        "network": {"hidden": [8]},
        "evaluation": {"every": 200, "episodes": 2},
        "checkpoint": {"every": 100, "keep": 2},
        "run": {"name": "r", "dir": str(tmp_path), "tensorboard": False},
    }
    return {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}


def test_a_run_folder_holds_what_it_should(tmp_path):
    run = train(settings(tmp_path, run={"tensorboard": True}), progress=False, baseline=("random", 22.0))
    assert run.dir == tmp_path / "r"
    assert (run.steps, run.stop_reason) == (300, "total_steps")
    names = {path.name for path in run.dir.iterdir()}
    assert names == {
        *("config.yaml", "environment.json", "metrics.jsonl", "episodes.csv", "tensorboard"),
        *("checkpoints", "best", "policy.onnx", "policy.json", "curve.png", "log.txt", "state.json"),
    }
    assert {path.name for path in (run.dir / "checkpoints").iterdir()} == {"step_200", "step_300"}
    assert load_config(run.dir / "config.yaml") == run.config
    assert (run.dir / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((run.dir / "tensorboard").iterdir())
    facts = json.loads((run.dir / "environment.json").read_text())
    assert facts["versions"]["torch"]
    assert facts["action_space"] == "Discrete(2)"
    state = json.loads((run.dir / "state.json").read_text())
    assert (state["status"], state["reason"], state["steps"]) == ("finished", "total_steps", 300)
    assert state["last_checkpoint"] == "step_300"
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    names = set().union(*rows)
    assert {"step", "rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "time/total_steps"} <= names
    assert {"train/loss", "train/approx_kl", "train/explained_variance", "eval/return_mean"} <= names
    assert [row["step"] for row in rows if "eval/return_mean" in row] == [200, 300]
    episodes = np.loadtxt(run.dir / "episodes.csv", delimiter=",", skiprows=1)
    assert (episodes[:, 1] == episodes[:, 2]).all()  # CartPole pays 1 a step
    assert episodes[:, 2].sum() <= 300


def test_a_loaded_run_acts_as_the_trained_one(tmp_path):
    run = train(settings(tmp_path), progress=False)
    loaded = load_run(run.dir)
    assert weights_digest(loaded.policy) == weights_digest(run.policy)
    assert loaded.steps == 300
    assert loaded.evaluate(episodes=3) == run.evaluate(episodes=3)
    observation = np.zeros(4, np.float32)
    drawn = [run.policy.act(observation) for _ in range(10)]
    assert [loaded.policy.act(observation) for _ in range(10)] == drawn  # its generator came along
    assert load_run(run.dir, 200).steps == 200
    assert load_run(run.dir, "best").steps in (200, 300)
    with pytest.raises(CheckpointError, match="step_100"):
        load_run(run.dir, 100)
    with pytest.raises(RunFolderError, match=r"no config\.yaml"):
        load_run(tmp_path)


def test_a_checkpoint_is_all_that_the_learner_needs(tmp_path):
    """Two learners, one restored from the other's checkpoint, learn the same from the same rollout."""
    from gymnasium.vector import AutoresetMode

    from rlbridge.client import make_vec
    from rlbridge.learn.collect import StepCollector
    from rlbridge.learn.learners import make_learner
    from rlbridge.learn.seeds import Seeds

    run = train(settings(tmp_path), progress=False)
    state = load_checkpoint(run.dir / "checkpoints" / "step_300")
    digests = []
    for _ in range(2):
        envs = make_vec("CartPole-v1", 2, autoreset_mode=AutoresetMode.SAME_STEP)
        seeds = Seeds.from_run(int(np.random.default_rng().integers(1000)))  # nothing may come of it
        spaces = envs.single_observation_space, envs.single_action_space
        learner = make_learner(run.config, *spaces, seeds)
        learner.load_state_dict(state["learner"])
        assert weights_digest(learner.policy) == weights_digest(run.policy)
        collector, rollout = StepCollector(envs, learner.policy, Seeds.from_run(0)), learner.rollout(2)
        collector.collect(rollout)
        learner.update(rollout, 0.5)
        digests.append((weights_digest(learner.policy), weights_digest(learner.critic)))
    assert digests[0] == digests[1]


def test_same_seed_same_weights_whatever_else_is_written(tmp_path):
    def digest(name, seed, **sections):
        run = {"name": name, "seed": seed}
        return weights_digest(train(settings(tmp_path, run=run, **sections), progress=False).policy)

    first = digest("a", 0)
    assert digest("b", 0, evaluation={"every": 0}, checkpoint={"every": 0}) == first
    assert digest("c", 1) != first


def test_names_are_made_up_or_protected(tmp_path):
    quick = settings(tmp_path, run={"name": None}, evaluation={"every": 0})
    assert train(quick, progress=False).dir.name == "CartPole-v1-ppo-1"
    assert train(quick, progress=False).dir.name == "CartPole-v1-ppo-2"
    named = settings(tmp_path, evaluation={"every": 0})
    train(named, progress=False)
    with pytest.raises(RunFolderError, match=r"run\.overwrite=true"):
        train(named, progress=False)
    assert train(named, ["run.overwrite=true"], progress=False).steps == 300
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(RunFolderError, match="no run"):
        train(named, ["run.overwrite=true", "run.name=mine"], progress=False)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_target_return_ends_the_run(tmp_path):
    run = train(settings(tmp_path, evaluation={"every": 100, "stop_at_return": 1.0}), progress=False)
    assert (run.steps, run.stop_reason) == (100, "target_return")


def test_wall_time_ends_the_run(tmp_path):
    run = train(settings(tmp_path, algorithm={"total_steps": 10**9}, run={"max_seconds": 0.3}), progress=False)
    assert run.stop_reason == "wall_time"
    assert load_run(run.dir).steps == run.steps > 0


def test_a_callback_sees_every_update_and_may_end_the_run(tmp_path):
    seen = []

    def callback(step, values):
        seen.append(step)
        if step == 200:
            raise Stopped("enough")

    run = train(settings(tmp_path, evaluation={"every": 0}), progress=False, callback=callback)
    assert seen == [100, 200]
    assert (run.steps, run.stop_reason) == (200, "enough")


def test_a_stop_file_ends_the_run(tmp_path):
    def callback(step, values):
        (tmp_path / "r" / "stop").touch()

    run = train(settings(tmp_path, algorithm={"total_steps": 10**9}), progress=False, callback=callback)
    assert run.stop_reason == "stop_file"
    assert load_run(run.dir).steps == run.steps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, number):
    code = f"from rlbridge.learn import train; print(train({str(tmp_path / 'run.yaml')!r}).stop_reason)"
    config = settings(tmp_path, algorithm={"total_steps": 10**9}, evaluation={"every": 0})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: list((tmp_path / "r" / "checkpoints").glob("step_*")), process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert output.strip() == number.name
    assert process.returncode == 0
    assert json.loads((tmp_path / "r" / "state.json").read_text())["status"] == "stopped"
    assert load_run(tmp_path / "r").steps > 0


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_nan_stops_the_run_and_names_the_last_checkpoint(tmp_path, what, monkeypatch):
    monkeypatch.chdir(HERE)
    env = {"target": f"scripted.py:poisoned_{what}", "kwargs": {"at": 130}}
    with pytest.raises(NotFinite, match=rf"row 0 gave the {what}.* at step 26\d.*checkpoints/step_200\."):
        train(settings(tmp_path, env=env, evaluation={"every": 0}), progress=False)
    state = json.loads((tmp_path / "r" / "state.json").read_text())
    assert state["status"] == "failed"
    assert what in state["error"]
    assert load_run(tmp_path / "r").steps == 200


def test_diverged_weights_are_not_saved(tmp_path):
    with pytest.raises(NotFinite, match=r"train/\w+ = (nan|inf).*learning_rate.*checkpoint"):
        train(settings(tmp_path, algorithm={"learning_rate": 1e38}), progress=False)
    assert all(np.isfinite(load_run(path.parent.parent, int(path.name[5:])).policy.act(np.zeros(4), True))
               for path in (tmp_path / "r" / "checkpoints").iterdir())  # fmt: skip


def test_nothing_is_left_behind_by_what_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.chdir(HERE)
    with pytest.raises(UnsupportedSpace, match="Text"):
        train(settings(tmp_path, env={"target": "scripted.py:Talker"}), progress=False)
    with pytest.raises(ConfigError):
        train(settings(tmp_path, env={"num_envs": 0}), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_plain_lines_where_there_is_no_terminal(tmp_path, capfd):
    train(settings(tmp_path), progress=None)
    lines = capfd.readouterr().err.splitlines()
    assert any("of 300 steps" in line for line in lines)
    assert "ended by total_steps after 300 steps" in lines[-1]
    assert not any("\x1b" in line for line in lines)


def test_torch_missing_is_one_clear_sentence(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(HERE.parent.parent)])}
    result = subprocess.run(
        [sys.executable, "-c", "import rlbridge.learn"], capture_output=True, text=True, env=environment, check=False
    )
    assert "training needs torch: pip install 'rlbridge-toolkit[train]'" in result.stderr.splitlines()[-1]
