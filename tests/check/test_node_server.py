"""The server in another language, written from the protos alone, passes the required part of ``rlbridge check``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import rlbridge
from rlbridge.check import check_target

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "node_server"
OUT_OF_REACH = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "E403", "E503")


@pytest.fixture(scope="module")
def url():
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not installed")
    install = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline"]
    installed = subprocess.run(install, cwd=FOLDER, capture_output=True, text=True, timeout=150)
    if installed.returncode and any(code in installed.stderr for code in OUT_OF_REACH):
        pytest.skip(f"the npm registry cannot be reached: {installed.stderr.strip()[-200:]}")
    assert installed.returncode == 0, installed.stderr
    process = subprocess.Popen([node, "server.js"], cwd=FOLDER, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline().split()
        assert line[:1] == ["serving"], line
        yield line[1]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()


def test_it_passes_every_required_check(url):
    results = list(check_target(url))
    assert not [result for result in results if result.status == "fail"]
    skipped = {result.name for result in results if result.status == "skip"}
    skipped -= {"lease", "requests-renew"}  # a machine that is busy with other things may be too slow for these
    # DISABLED is a mode that it does not offer; the others are capabilities that it does not advertise.
    resuming = {"resume", "fencing", "late-resume", "take-over", "unknown-resume"}
    rollouts = {"rollout", "rollout-twice", "rollout-chance", "rollout-policies"}
    assert skipped == {"disabled", "render", "keepalive"} | resuming | rollouts


def test_it_is_a_gymnasium_env(url):
    env = rlbridge.make(url)
    observation, _ = env.reset(seed=0)
    again, _ = env.reset(seed=0)
    assert np.array_equal(observation, again)
    env.action_space.seed(0)
    episodes = 0
    for _ in range(300):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert reward == 1.0
        if terminated or truncated:
            episodes += 1
            env.reset()
    assert 5 <= episodes <= 40  # a random policy lasts some 20 steps
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_it_is_a_vector_env(url, mode):
    envs = rlbridge.make_vec(url, num_envs=4, autoreset_mode=mode)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    finals = 0
    for _ in range(200):
        _, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert rewards.shape == (4,)
        if mode is AutoresetMode.SAME_STEP and (terminated | truncated).any():
            finals += 1
            assert np.array_equal(infos["_final_obs"], terminated | truncated)
            assert np.array_equal(infos["_final_info"], terminated | truncated)
    assert finals > 0 or mode is AutoresetMode.NEXT_STEP
    envs.close()


def test_the_pole_moves_as_gymnasiums_does(url):
    """The same equations, from the same state: Gymnasium's own CartPole is put where the remote one is."""
    import gymnasium

    env, own = rlbridge.make(url), gymnasium.make("CartPole-v1").unwrapped
    observation, _ = env.reset(seed=3)
    own.reset()
    own.state = tuple(float(value) for value in observation)
    for action in (0, 1, 1, 0, 1, 0, 0):
        observation = env.step(action)[0]
        assert np.allclose(observation, own.step(action)[0], atol=1e-5)
    env.close()
