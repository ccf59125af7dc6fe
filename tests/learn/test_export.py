"""What is exported does what the policy does, or nothing is written; and every run leaves it behind."""

import hashlib
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rlbridge.learn import Stopped, load_run, train
from rlbridge.learn.export import ExportError, export_policy, verify
from rlbridge.learn.onnx_graph import OPSET, policy_model
from rlbridge.play import CannotRender, Description, OnnxPolicy
from rlbridge.play.network import OPERATORS
from rlbridge.runs.folder import RunFolder
from tests.exported import KINDS, described, policy_of, rows_for


def settings(tmp_path, **sections):
    base = {
        "env": {"num_envs": 2},
        "algorithm": {"total_steps": 200, "rollout_steps": 50, "minibatch_size": 50, "epochs": 1},
        "network": {"hidden": [8]},
        "evaluation": {"every": 100, "episodes": 2},
        "run": {"name": "r", "dir": str(tmp_path), "tensorboard": False},
    }
    return {name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}}


@pytest.mark.parametrize("name", KINDS)
def test_the_file_does_what_the_policy_does(name):
    policy = policy_of(name)
    model = policy_model(policy)
    played = OnnxPolicy(model, described(policy, model))
    assert name.startswith(played.description.kind)
    assert verify(policy, played) < 1e-5
    for count in (1, 7):  # the batch may have any size
        rows = rows_for(policy, count)
        assert played.raw(rows, True) == pytest.approx(policy.raw(rows, True), abs=1e-5)
    # What a vector environment gives, in the environment's own terms, one and many.
    space, action_space = policy.encoder.space, policy.actions.space
    space.seed(3)
    observation = space.sample()
    action = played.act(observation, deterministic=True)
    assert action_space.contains(action)
    assert action == pytest.approx(policy.act(observation, deterministic=True), abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_any_runtime_can_read_it(name):
    model = onnx.load_from_string(policy_model(policy_of(name)))
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert {node.op_type for node in model.graph.node} <= set(OPERATORS)
    (observation,) = model.graph.input
    assert observation.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_choices_that_there_are_not_are_never_taken():
    policy = policy_of("categorical, many")  # of 2 and of 4 choices
    session = onnxruntime.InferenceSession(policy_model(policy))
    (logits,) = session.run(None, {"observation": rows_for(policy, 50)})
    assert logits.shape == (50, 8)
    assert (logits[:, 2:4] == -1e9).all()
    assert (np.abs(logits[:, [0, 1, 4, 5, 6, 7]]) < 1e6).all()


def test_a_file_that_differs_is_refused():
    policy, other = policy_of("gaussian"), policy_of("gaussian")
    with torch.no_grad():
        other.head.last[0][1].add_(0.01)
    model = policy_model(other)
    with pytest.raises(ExportError, match=r"mean of onnxruntime and torch differ by 0\.00"):
        verify(policy, OnnxPolicy(model, described(policy, model)))
    # Where only the choice differs, as it could with other rounding, that is seen as well.
    policy, model = policy_of("greedy"), policy_model(policy_of("greedy"))
    played = OnnxPolicy(model, described(policy, model))
    played.raw = lambda rows, deterministic: (policy.raw(rows, True) + 1) % 4
    with pytest.raises(ExportError, match=r"onnxruntime acts \[\d\] and torch \[\d\] at the observation"):
        verify(policy, played)


def test_nothing_is_written_of_a_policy_that_is_not_finite(tmp_path):
    run = train(settings(tmp_path), progress=False)
    before = {path.name: path.read_bytes() for path in run.dir.glob("*policy*")}
    assert set(before) == {"policy.onnx", "policy.json"}
    run.policy.head.last[0][0].data[0, 0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        export_policy(run.policy, run.config, RunFolder.open(run.dir), run.steps, run.dir / "policy.onnx")
    assert {path.name: path.read_bytes() for path in run.dir.glob("*policy*")} == before


def test_every_run_leaves_its_policy_and_says_what_it_is(tmp_path):
    run = train(settings(tmp_path), progress=False)
    told = Description.from_json((run.dir / "policy.json").read_text())
    assert told.sha256 == hashlib.sha256((run.dir / "policy.onnx").read_bytes()).hexdigest()
    assert (told.kind, told.algorithm, told.steps, told.normalised) == ("categorical", "ppo", 200, True)
    assert (told.target, told.kwargs) == ("CartPole-v1", {})
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    means = [row["eval/return_mean"] for row in rows if "eval/return_mean" in row]
    assert told.score == {"last": means[-1], "last_at": 200, "best": max(means)}
    assert told.versions["torch"] == torch.__version__
    assert told.git == json.loads((run.dir / "environment.json").read_text())["git"]
    # By default the same episodes are played as with the run's folder.
    played = OnnxPolicy.load(run.dir / "policy.onnx")
    assert told.evaluation["num_envs"] == 2
    observation = np.array([0.01, 0.3, -0.02, 0.5], np.float32)
    assert played.act(observation, deterministic=True) == run.policy.act(observation, deterministic=True)


def test_a_run_that_was_stopped_or_that_failed_leaves_it_too(tmp_path):
    def stop(step, metrics):
        raise Stopped("stop_file")

    def fail(step, metrics):
        raise RuntimeError("the callback's own fault")

    train(settings(tmp_path, run={"name": "stopped"}), progress=False, callback=stop)
    with pytest.raises(RuntimeError, match="own fault"):
        train(settings(tmp_path, run={"name": "failed"}), progress=False, callback=fail)
    for name in ("stopped", "failed"):
        assert OnnxPolicy.load(tmp_path / name / "policy.onnx").description.steps == 100


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_packages_training_ends_well_and_says_what_to_install(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "rlbridge.learn.onnx_graph", raising=False)
    run = train(settings(tmp_path), progress=False)
    assert run.stop_reason == "total_steps"
    assert not (run.dir / "policy.onnx").exists()
    log = (run.dir / "log.txt").read_text()
    assert "no policy.onnx was written: " in log
    assert f"needs {missing}: pip install 'rlbridge-toolkit[" in log
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rlbridge-toolkit\["):
        export_policy(run.policy, run.config, RunFolder.open(run.dir), run.steps, tmp_path / "p.onnx")


def test_an_export_of_the_best_checkpoint_tells_the_score_up_to_it(tmp_path):
    run = train(settings(tmp_path, algorithm={"total_steps": 300}), progress=False)
    best = load_run(run.dir, "best")
    told = export_policy(best.policy, best.config, RunFolder.open(run.dir), best.steps, tmp_path / "best.onnx")
    assert (told.steps, told.score["last_at"]) == (best.steps, best.steps)
    assert told.score["last"] == told.score["best"]
    assert OnnxPolicy.load(tmp_path / "best.onnx").description == told


def test_a_run_is_filmed_before_and_after(tmp_path):
    run = train(settings(tmp_path, evaluation={"gif": True}), progress=False)
    for name in ("before.gif", "after.gif"):
        assert (run.dir / name).read_bytes().startswith(b"GIF89a")
    with pytest.raises(CannotRender, match="this one renders: nothing"):
        train(
            settings(tmp_path, env={"target": "tests.envs:Continuous"}, evaluation={"gif": True}, run={"name": "no"}),
            progress=False,
        )
    assert not (tmp_path / "no" / "episodes.csv").read_text().splitlines()[1:]  # nothing was played for nothing
