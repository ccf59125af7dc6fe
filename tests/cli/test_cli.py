"""The command line as a user meets it: processes, their output, their exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

import rlbridge
from tests.conftest import ROOT


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlbridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, **options)


def test_help_of_every_verb_is_there():
    for verb in ((), ("serve",), ("inspect",), ("train",), ("evaluate",), ("config",)):
        done = run(*verb, "--help")
        assert done.returncode == 0
        assert len(done.stdout) > 200
    assert run("--version").stdout.strip() == f"rlbridge {rlbridge.__version__}"


def test_serve_prints_each_url_and_ends_cleanly_on_a_signal(serve_process, tmp_path):
    process, urls = serve_process(
        "CartPole-v1", "--bind", "grpc://127.0.0.1:0", "--bind", f"unix://{tmp_path}/e.sock", urls=2
    )
    for url in urls:
        env = rlbridge.make(url)
        env.reset(seed=0)
        env.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_two_environments_of_one_file_are_told_apart_by_the_target(serve_process, tmp_path):
    (tmp_path / "serve.yaml").write_text(
        "envs:\n  - {env: CartPole-v1, summary: a pole}\n  - {env: Acrobot-v1, name: robot}\n"
    )
    _, (url,) = serve_process(str(tmp_path), "--bind", "grpc://127.0.0.1:0")
    shapes = {}
    for target in (url, f"{url}/robot", f"{url}/CartPole-v1"):
        env = rlbridge.make(target)
        shapes[target] = env.observation_space.shape
        env.close()
    assert list(shapes.values()) == [(4,), (6,), (4,)]
    facts = json.loads(run("inspect", f"{url}/robot", "--json").stdout)
    assert [offer["name"] for offer in facts["environments"]] == ["CartPole-v1", "robot"]
    assert facts["action_space"] == "Discrete(3)"
    assert facts["round_trip_ms"] > 0
    assert facts["limits"]["max_sessions"] == 64
    assert "resume" in facts["capabilities"]
    assert "rollout.onnx" in facts["capabilities"]
    text = run("inspect", url).stdout
    assert "action_space: Discrete(2)" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["serve", "NoSuch-v1"], 2, "'NoSuch-v1' is not a registered Gymnasium id"),
        (["serve", "CartPole-v1", "--bind", "grpc://0.0.0.0:0"], 2, "pass --insecure"),
        (["inspect", "grpc://127.0.0.1:1"], 3, "nothing answers at grpc://127.0.0.1:1"),
        (["inspect", "ftp://x"], 2, "speaks grpc://, grpcs://, http://, https://, unix:// and shm://"),
        (["inspect", "127.0.0.1:50051"], 2, "did you mean grpc://127.0.0.1:50051?"),
        (["train", "algorithm.learning_rat=1"], 2, "did you mean 'learning_rate'?"),
        (["train"], 2, "say what to train"),
        (["train", "missing.yaml"], 2, "missing.yaml"),
        (["train", "a.yaml", "b.yaml"], 2, "expected [RUN.yaml] [KEY=VALUE]"),
        (["train", "env.target=grpc://127.0.0.1:1"], 3, "nothing answers at"),
        (["evaluate", "/nowhere"], 2, "there is nothing at /nowhere"),
    ],
)
def test_a_mistake_is_one_clear_message_and_an_exit_code(arguments, code, words):
    done = run(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr


def test_train_evaluate_and_config_over_grpc(serve_process, tmp_path):
    _, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    settings = [f"env.target={url}", "env.num_envs=4", "algorithm.total_steps=2_000", f"run.dir={tmp_path}"]
    done = run("train", *settings, "run.name=first", "evaluation.every=1_000", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["stop_reason"] == "total_steps"
    assert (tmp_path / "first" / "curve.png").stat().st_size > 5_000
    result = json.loads(run("evaluate", outcome["dir"], "--episodes", "5", "--seed", "3", "--json").stdout)
    assert set(result) == {"episodes", "return_mean", "return_std", "length_mean", "returns"}
    assert result["episodes"] == len(result["returns"]) == 5
    # the same policy on the same environment in this process plays the same episodes
    local = run("evaluate", outcome["dir"], "--episodes", "5", "--seed", "3", "--json", "--env", "CartPole-v1")
    assert json.loads(local.stdout)["returns"] == result["returns"]
    shown = run("config", "show", outcome["dir"] + "/config.yaml", "run.seed=9").stdout
    assert "seed: 9" in shown
    assert url in shown
    assert json.loads(run("config", "schema").stdout)["title"] == "RunConfig"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_with_a_checkpoint_and_its_exit_code(tmp_path, number, code):
    command = [sys.executable, "-m", "rlbridge", "train", f"run.dir={tmp_path}", "run.name=r", "checkpoint.every=0"]
    process = subprocess.Popen(
        [*command, "algorithm.total_steps=100_000_000", "evaluation.every=0"], stderr=subprocess.PIPE, text=True
    )
    assert "run folder" in process.stderr.readline()
    assert "steps" in process.stderr.readline()  # the first update is done
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == code, rest
    assert len(list((tmp_path / "r" / "checkpoints").iterdir())) == 1
