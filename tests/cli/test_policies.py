"""``rlbridge evaluate`` and ``rlbridge export`` with policies, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from rlbridge.cli import app
from rlbridge.learn import load_run, train
from rlbridge.play import OnnxPolicy
from tests.conftest import ROOT
from tests.exported import NO_TORCH, policy_of, write

FIGURES = {"episodes", "return_mean", "return_std", "length_mean", "returns"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A short run on CartPole-v1."""
    torch.set_num_threads(1)
    settings = {
        "env": {"num_envs": 2},
        "algorithm": {"total_steps": 600, "rollout_steps": 50, "minibatch_size": 50, "epochs": 2},
        "network": {"hidden": [8]},
        "evaluation": {"every": 100, "episodes": 2},
        "run": {"name": "r", "dir": str(tmp_path_factory.mktemp("runs")), "tensorboard": False},
    }
    return train(settings, progress=False).dir


def rlbridge(*arguments):
    """Runs the verb here; returns the exit code, what it printed, and its errors."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_policy_file_is_evaluated_over_grpc_without_torch(run_dir, serve_process, tmp_path):
    _, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    code = NO_TORCH + "from rlbridge.cli import main\nmain()"
    arguments = ["evaluate", str(run_dir / "policy.onnx"), "--env", url, "--episodes", "4", "--seed", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--gif", str(tmp_path / "a.gif")],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == FIGURES
    # as torch plays the same policy in this process
    assert result["returns"] == load_run(run_dir).evaluate(4, seed=3).returns
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


def test_folder_and_file_play_the_same_episodes_by_default(run_dir, tmp_path):
    gif = tmp_path / "a.gif"
    folder = rlbridge("evaluate", run_dir, "--episodes", 3, "--json", "--gif", gif)
    file = rlbridge("evaluate", run_dir / "policy.onnx", "--episodes", 3, "--json")
    assert folder == file
    assert gif.read_bytes().startswith(b"GIF89a")
    code, text, _ = rlbridge("evaluate", run_dir / "policy.onnx", "--episodes", 3)
    assert (code, text.startswith("3 episodes: return ")) == (0, True)


def test_export_writes_the_checkpoint_that_is_asked_for(run_dir, tmp_path):
    for checkpoint in ("last", "best", "600"):
        out = tmp_path / f"{checkpoint}.onnx"
        code, text, errors = rlbridge("export", run_dir, out, "--checkpoint", checkpoint)
        assert code == 0, errors
        assert f"{out} and {tmp_path / checkpoint}.json: categorical, ppo after" in text
    assert (tmp_path / "600.onnx").read_bytes() == (tmp_path / "last.onnx").read_bytes()
    assert (tmp_path / "last.onnx").read_bytes() == (run_dir / "policy.onnx").read_bytes()
    best = load_run(run_dir, "best")
    assert OnnxPolicy.load(tmp_path / "best.onnx").description.steps == best.steps


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["export", "RUN", "policy.bin"], 2, "should end in .onnx"),
        (["export", "RUN", "/no/such/folder/p.onnx"], 2, "there is no folder /no/such/folder"),
        (["export", "RUN", "TMP/p.onnx", "--checkpoint", "77"], 1, "step_77 holds no checkpoint"),
        (["export", "TMP", "TMP/p.onnx"], 1, "is no run folder"),
        (["evaluate", "TMP/nix"], 2, "there is nothing at"),
        (["evaluate", "TMP/p.onnx"], 1, "p.onnx cannot be read: there is none"),
        (["evaluate", "RUN/policy.onnx", "--checkpoint", "best"], 2, "is for a run folder"),
        (["evaluate", "RUN/policy.onnx", "--env", "Acrobot-v1"], 1, "the environment's are Box([ -1."),
        (["evaluate", "RUN", "--env", "Acrobot-v1"], 1, "the environment's are Box([ -1."),
        (["evaluate", "RUN/policy.onnx", "--env", "grpc://127.0.0.1:1"], 3, "nothing answers at grpc://127.0.0.1:1"),
        (["evaluate", "RUN", "--gif", "/no/such/folder/a.gif"], 2, "there is no folder /no/such/folder"),
        (["evaluate", "RUN", "--env", "tests.envs:Continuous", "--gif", "TMP/a.gif"], 1, "this one renders: nothing"),
    ],
)
def test_a_mistake_is_one_clear_message_and_an_exit_code(run_dir, tmp_path, arguments, code, words):
    arguments = [word.replace("RUN", str(run_dir)).replace("TMP", str(tmp_path)) for word in arguments]
    found, _, errors = rlbridge(*arguments)
    assert (found, words in " ".join(errors.split())) == (code, True), errors


@pytest.mark.parametrize(
    ("target", "kwargs", "token", "words"),
    [
        (None, {}, None, "does not say where it was trained"),
        ("evil.py:Env", {}, None, "which is code to be run; say --env evil.py:Env"),
        ("os:getcwd", {}, None, "which is code to be run"),
        ("CartPole-v1", {"sutton_barto_reward": True}, None, "which is code to be run"),
        ("grpc://127.0.0.1:1", {}, "secret", "would be shown your RLBRIDGE_TOKEN"),
        ("grpc://127.0.0.1:1", {}, None, "nothing answers at grpc://127.0.0.1:1"),
        ("grpc://127.0.0.1:1", {}, None, "play elsewhere: --env TARGET"),
    ],
)
def test_a_file_chooses_no_code_to_run_and_no_one_to_show_a_token(tmp_path, monkeypatch, target, kwargs, token, words):
    for name in ("RLBRIDGE_TOKEN_FILE", "RLBRIDGE_TLS_CA", "RLBRIDGE_TLS_CERT", "RLBRIDGE_TLS_KEY", "RLBRIDGE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("RLBRIDGE_TOKEN", token)
    path = write(tmp_path, policy_of("greedy"), target=target, kwargs=kwargs)
    code, _, errors = rlbridge("evaluate", path)
    assert code in (2, 3)
    assert words in " ".join(errors.split())


def test_a_target_that_the_user_confirms_gets_the_arguments_it_was_trained_with(run_dir, tmp_path):
    """CartPole's other reward pays 0 a step, and -1 for the last."""
    policy = load_run(run_dir).policy
    told = {"target": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}
    path = write(tmp_path, policy, **told)
    _, text, _ = rlbridge("evaluate", path, "--env", "CartPole-v1", "--episodes", 1, "--seed", 0, "--json")
    assert json.loads(text)["return_mean"] in (-1.0, 0.0)
