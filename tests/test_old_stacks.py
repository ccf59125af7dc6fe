"""Environments that live on an old stack (Gymnasium 0.29 or Gym 0.21, numpy 1) are served there and trained on here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rlbridge
from rlbridge.learn import train
from tests.conftest import ROOT

PLAY = """
import json, sys
import numpy as np
name = sys.argv[1]
if name.startswith("gym:"):
    import gym
    env = gym.make(name[4:])
    env.seed(3)
    observations = [env.reset()]
else:
    import gymnasium
    env = gymnasium.make(name)
    observations = [env.reset(seed=3)[0]]
ends = []
for action in np.random.RandomState(0).randint(env.action_space.n, size=30):
    observation, reward, *end, info = env.step(int(action))
    observations.append(observation)
    ends.append([float(reward), any(end)])
    if any(end):
        break
print(json.dumps([np.asarray(observations, np.float32).tolist(), ends]))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """The bin folder of a virtual environment with Gymnasium 0.29, Gym 0.21, numpy 1 and rlbridge, which can play
    policies there, too."""
    folder = tmp_path_factory.mktemp("old")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pins = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith(("numpy", "gymn", "packaging"))
    ]
    (folder / "constraints.txt").write_text("\n".join([*pins, "numpy<2", "gymnasium==0.29.1", "packaging<22"]))
    new_pip = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python"]
    # What can still build a package of 2021.
    pip(new_pip, folder, f"{ROOT}[play]", "pip==23.2.1", "setuptools==65.5.0", "wheel==0.38.4")
    pip([folder / "venv/bin/python", "-m", "pip"], folder, "--no-build-isolation", "gym==0.21.0")
    return folder / "venv/bin"


def pip(pip: list, folder: Path, *what: str) -> None:
    install = [*pip, "install", "--quiet", "--no-compile", "-c", folder / "constraints.txt", *what]
    done = subprocess.run(install, capture_output=True, text=True, timeout=170)
    if done.returncode and "Connection" in done.stderr:
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr


def run(command: list, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=folder)


@pytest.mark.parametrize("name", ["CartPole-v1", "gym:CartPole-v1"])
def test_it_is_served_there_with_the_same_numbers_and_trained_on_here(old, tmp_path, name):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [old / "rlbridge", "serve", name, "--bind", "grpc://127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    try:
        url = process.stdout.readline().split()[1]
        observations, ends = json.loads(run([old / "python", "-c", PLAY, name], tmp_path).stdout)
        env = rlbridge.make(url)
        seen, _ = env.reset(seed=3)
        assert seen.tolist() == observations[0]
        actions = np.random.RandomState(0).randint(2, size=30)
        for action, expected, (reward, end) in zip(actions, observations[1:], ends, strict=False):
            seen, got, terminated, truncated, _ = env.step(np.int64(action))
            assert seen.tolist() == expected
            assert (got, terminated, truncated) == (reward, end, False)
        env.close()
        algorithm = {"name": "ppo", "total_steps": 512, "rollout_steps": 64}
        quiet = {"evaluation": {"every": 0}, "run": {"dir": str(tmp_path), "tensorboard": False}}
        for placement in ("step", "edge"):
            env = {"target": url, "num_envs": 4, "placement": placement}
            done = train({"env": env, "algorithm": algorithm, **quiet}, progress=False)
        assert done.steps >= 512
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


def test_gyms_time_limit_is_a_truncation(old, tmp_path):
    code = (
        "import gym, numpy, json\n"
        "from gym.wrappers import TimeLimit\n"
        "from rlbridge.server.old_gym import modern\n"
        "env = modern(TimeLimit(gym.make('CartPole-v1').unwrapped, 3))\n"
        "env.reset(seed=0)\n"
        "print(json.dumps([env.step(i % 2)[2:4] for i in range(3)]))"
    )
    done = run([old / "python", "-c", code], tmp_path)
    assert json.loads(done.stdout) == [[False, False], [False, False], [False, True]], done.stderr


def test_gyms_spaces_become_gymnasiums(old, tmp_path):
    code = """
import gym, gymnasium, numpy as np
from rlbridge.server.old_gym import modern_space

def build(s):
    return s.Dict({
        "box": s.Box(-1.0, np.array([1.0, np.inf], np.float32), (2,), np.float32),
        "image": s.Box(0, 255, (4, 4, 3), np.uint8),
        "pair": s.Tuple([s.Discrete(3), s.MultiBinary(2), s.MultiDiscrete([2, 5])]),
    })

assert modern_space(build(gym.spaces)) == build(gymnasium.spaces)

class Strange(gym.Space):
    pass

try:
    modern_space(Strange())
except TypeError as error:
    print(error)
"""
    done = run([old / "python", "-c", code], tmp_path)
    assert done.stdout.startswith("a space of Gym's class Strange has no counterpart here"), done.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import rlbridge; rlbridge.make('CartPole-v1')", "the client needs Gymnasium 1.1 or later, and 0.29.1 is"),
        (
            "from rlbridge.server.catalog import *; load_catalog('serve.yaml')",
            "'CartPole-v1': a native batch needs Gymnasium 1.1 or later",
        ),
    ],
)
def test_what_it_cannot_do_there_is_said(old, tmp_path, code, message):
    (tmp_path / "serve.yaml").write_text("env: CartPole-v1\nvectorization: native\n")
    assert message in run([old / "python", "-c", code], tmp_path).stderr
