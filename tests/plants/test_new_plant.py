"""`rlbridge new plant` makes a folder that passes its own test, serves and trains; operators act by command."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import rlbridge
from rlbridge import errors
from rlbridge.cli import app


def command(*words, code=0):
    """Run a verb; returns what it printed."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("new", "plant", "boiler")
    return tmp_path / "boiler"


def test_the_folder_passes_its_own_test_serves_and_trains(folder, serve):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", folder], cwd=folder.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert not any("NAME" in path.read_text() for path in folder.glob("*.*"))
    url = serve(str(folder)).urls[0]
    run = rlbridge.train(
        str(folder / "run.yaml"),
        [f"env.target={url}", "algorithm.total_steps=800", "evaluation.episodes=1", f"run.dir={folder}/runs"],
    )
    assert run.dir.joinpath("policy.onnx").is_file()
    rows = [json.loads(line) for line in run.dir.joinpath("metrics.jsonl").read_text().splitlines()]
    clipped = [row["plant/clipped_fraction"] for row in rows if "plant/clipped_fraction" in row]
    assert 0.0 < clipped[0] < 1.0  # the noise of an untrained policy is sometimes faster than the heater may be
    assert "in order" in command("audit", "verify", "boiler/audit.jsonl")


def test_names_that_are_none_and_folders_that_exist_are_refused(folder):
    assert "exists already" in command("new", "plant", "boiler", code=2)
    assert "a letter, then letters, digits and _" in command("new", "plant", "boi-ler", code=2)


def test_an_operator_stops_and_clears_the_plant_by_command(folder, serve):
    top = folder.parent
    assert "names no operator's file" in command("plant", "estop", "boiler", code=2)
    path = folder / "serve.yaml"
    text = path.read_text().replace("  mode: active ", "  operator: operator.jsonl\n  mode: active ")
    path.write_text(text.replace("audit: audit.jsonl", "audit: boiler.jsonl"))
    command("plant", "init", "boiler")
    assert "was there already" in command("plant", "init", "boiler")
    assert (folder / "operator.jsonl.token").stat().st_mode & 0o077 == 0
    env = rlbridge.make(serve(str(folder)).urls[0])
    env.reset(seed=0)
    assert env.step(np.array([9.0], np.float32))[-1]["applied"] == 9.0
    command("plant", "estop", "boiler")
    _, _, _, truncated, info = env.step(np.array([9.0], np.float32))
    assert truncated
    assert info["applied"] == 0.0
    assert info["why"] == {"heater": ["estop"]}
    with pytest.raises(errors.RemoteEnvError, match=r"e-stop by.*rlbridge plant clear .*operator\.jsonl"):
        env.reset()
    status = json.loads(command("plant", "status", "boiler", "--json"))
    assert status["estop"].startswith("e-stop by")
    assert status["last"]["applied"] == {"heater": 0.0}
    wrong = top / "wrong"
    wrong.write_text("0" * 64)
    assert "needs the operator's token" in command("plant", "clear", "boiler", "--token-file", "wrong", code=2)
    command("plant", "clear", "boiler")
    command("plant", "mode", "boiler", "shadow")
    env.reset(seed=0)
    info = env.step(np.array([9.0], np.float32))[-1]
    assert (info["applied"], info["decided"]) == (5.0, 9.0)
    env.close()
    damaged = (folder / "boiler.jsonl").read_text().replace('"applied":{"heater":9.0}', '"applied":{"heater":8.0}', 1)
    (folder / "boiler.jsonl").write_text(damaged)
    assert "it was altered" in command("audit", "verify", "boiler/boiler.jsonl", code=1)
