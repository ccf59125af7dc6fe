"""Every run file in examples/runs trains as it stands: known keys, an environment that is there, fitting spaces."""

from __future__ import annotations

import math

import pytest

from rlbridge.config import load_config
from rlbridge.learn import train
from tests.conftest import ROOT

FILES = sorted((ROOT / "examples/runs").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_trains(path, tmp_path):
    ppo = load_config(path).algorithm.name == "ppo"
    short = ["algorithm.rollout_steps=8"] if ppo else ["algorithm.learning_starts=16", "algorithm.train_every=8"]
    quiet = ["evaluation.every=0", "run.tensorboard=false", f"run.dir={tmp_path}"]
    rows = []
    run = train(
        path, ["algorithm.total_steps=64", *short, *quiet], progress=False, callback=lambda _, row: rows.append(row)
    )
    assert run.steps >= 64
    learned = {name: value for row in rows for name, value in row.items() if name.startswith("train/")}
    assert learned
    assert all(math.isfinite(value) for value in learned.values())


def test_its_first_line_is_the_command_that_runs_it():
    for path in FILES:
        assert path.read_text().startswith(f"# rlbridge train examples/runs/{path.name}"), path
