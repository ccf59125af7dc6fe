"""A run to play with: trained once, copied by each test that changes it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.studio.simulated import make_workshop


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a run of 512 steps of PPO on CartPole-v1."""
    settings = ["algorithm.total_steps=512", "algorithm.rollout_steps=64", "env.num_envs=2", "run.tensorboard=false"]
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run(
        [sys.executable, "-m", "rlbridge", "train", *settings, "run.name=pole", f"run.dir={folder}", "--quiet"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return folder / "pole"


@pytest.fixture
def workshop(tmp_path, trained):
    """A workshop whose one run is that one."""
    made = make_workshop(tmp_path)
    shutil.copytree(trained, made.runs.folder / "pole")
    return made
