"""Sessions recorded by a server, replayed by another one, exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import rlbridge
from rlbridge.errors import RemoteEnvError
from rlbridge.recordings import BadRecording, Recording
from tests.conftest import ROOT
from tests.trajectory import batch_hash, single_hash


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "tests.envs:AnySpace"])
def test_a_replayed_session_has_the_recorded_numbers(serve, tmp_path, env):
    first = rlbridge.make(serve(env, record=tmp_path).urls[0])
    recorded = single_hash(first, 150, seed=3)
    first.close()
    again = rlbridge.make(serve(str(only(tmp_path))).urls[0])
    assert again.observation_space == first.observation_space
    assert single_hash(again, 150, seed=3) == recorded
    again.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_replayed_batch_has_the_recorded_numbers(serve, tmp_path, mode):
    first = rlbridge.make_vec(serve("CartPole-v1", record=tmp_path).urls[0], 3, autoreset_mode=mode)
    recorded = batch_hash(first, 120, seed=5)
    first.close()
    again = rlbridge.make_vec(serve(str(only(tmp_path))).urls[0], 3, autoreset_mode=mode)
    assert batch_hash(again, 120, seed=5) == recorded
    again.close()


def test_the_episodes_are_told_apart_by_how_they_ended(serve, tmp_path):
    env = rlbridge.make(serve("tests.envs:Fragile", record=tmp_path).urls[0])
    env.reset(seed=7, options={"mark": 1})
    for _ in range(5):  # its length
        env.step(1)
    env.reset()
    env.step(0)
    env.reset()
    with pytest.raises(RemoteEnvError, match="boom"):
        env.step(2)
    env.reset()
    env.step(1)
    env.close()
    recording = Recording(only(tmp_path))
    episodes = [recording.load(i) for i in range(4)]
    assert [(e.end, len(e.actions)) for e in episodes] == [("terminated", 5), ("cut", 1), ("failed", 0), ("cut", 1)]
    assert (episodes[0].seed, episodes[0].options, episodes[1].seed) == (7, {"mark": 1}, None)
    assert episodes[0].rewards.tolist() == [1.0] * 5
    assert episodes[0].infos[0]["odd"] == {"label": "step 1", "vector": [1.0, 1.0]}
    assert episodes[0].reset_info["seed"] == 7
    assert (np.diff(episodes[0].times) >= 0).all()


def test_numpy_and_json_are_enough_to_read_one(serve, tmp_path):
    env = rlbridge.make(serve("CartPole-v1", record=tmp_path).urls[0])
    first, _ = env.reset(seed=1)
    second = env.step(np.int64(1))[0]
    env.close()
    line = json.loads((only(tmp_path) / "episodes.jsonl").read_text())
    with np.load(only(tmp_path) / line["file"], allow_pickle=False) as arrays:
        assert np.array_equal(arrays["observation"], [first, second])
        assert arrays["action"].tolist() == [1]
        assert arrays["reward"].tolist() == [1.0]


def test_a_batch_is_recorded_row_by_row_with_final_observations_and_infos(serve, tmp_path):
    envs = rlbridge.make_vec(serve("tests.envs:Counter", record=tmp_path).urls[0], 2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    for _ in range(7):
        envs.step(np.array([0, 2]))
    envs.close()
    recording = Recording(only(tmp_path))
    episodes = [recording.load(i) for i in range(len(recording.episodes))]
    assert [(e.row, e.end, len(e.actions)) for e in episodes] == [
        (0, "terminated", 5),
        (1, "terminated", 5),
        (0, "cut", 2),
        (1, "cut", 2),
    ]
    last = recording.observations.unpack(episodes[1].observations[-1])
    assert last.tolist() == [0.0, 5.0]
    assert episodes[1].rewards.sum() == 10
    assert [info["total"] for info in episodes[1].infos] == [1, 2, 3, 4, 5]
    assert episodes[3].reset_info["seed"] == -1


def test_another_action_than_the_recorded_is_refused_or_played_on(serve, tmp_path):
    env = rlbridge.make(serve("CartPole-v1", record=tmp_path).urls[0])
    env.reset(seed=0)
    observation = env.step(np.int64(1))[0]
    env.close()
    strict = rlbridge.make("rlbridge.recordings:ReplayEnv", folder=only(tmp_path))
    strict.reset(seed=0)
    with pytest.raises(ValueError, match=r"step 0 of the recorded episode 0 was .*1.*, not .*0"):
        strict.step(np.int64(0))
    loose = rlbridge.make("rlbridge.recordings:ReplayEnv", folder=only(tmp_path), any_action=True)
    loose.reset(options={"episode": 0})
    seen, _, terminated, truncated, info = loose.step(np.int64(0))
    assert np.array_equal(seen, observation)
    assert (terminated, truncated, info["recorded_action"], info["recording_ends"]) == (False, True, 1, "cut")
    with pytest.raises(IndexError, match="no episode 9"):
        loose.reset(options={"episode": 9})


def test_a_long_episode_is_written_in_parts_and_a_killed_server_leaves_all_but_the_last(serve_process, tmp_path):
    folder = tmp_path / "recordings"
    process, urls = serve_process("tests.envs:Continuous", "--bind", "grpc://127.0.0.1:0", "--record", str(folder))
    env = rlbridge.make(urls[0], retry_for=0)
    env.reset(seed=0)
    for i in range(2_100):
        env.step(np.array([i / 2_100, 0], np.float32))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    recording = Recording(only(folder))
    episode = recording.load(0)
    assert (episode.end, len(episode.actions), len(episode.observations)) == ("continues", 2_000, 2_001)
    assert recording.observations.unpack(episode.observations[-1])[0] == np.float32(1_999 / 2_100)
    env.close()


def test_what_is_no_recording_or_a_damaged_one_is_said(serve, tmp_path):
    with pytest.raises(BadRecording, match="holds no readable recording"):
        Recording(tmp_path)
    env = rlbridge.make(serve("CartPole-v1", record=tmp_path).urls[0])
    env.reset(seed=0)
    env.close()
    folder = only(tmp_path)
    line = json.loads((folder / "episodes.jsonl").read_text())
    (folder / line["file"]).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BadRecording, match=r"episode-000000-000.npz"):
        Recording(folder).load(0)


def test_it_becomes_a_minari_dataset(serve, tmp_path):
    env = rlbridge.make(serve("CartPole-v1", record=tmp_path / "recordings").urls[0])
    env.action_space.seed(0)
    real = gymnasium.make("CartPole-v1")
    expected, steps = [], 0
    for seed in range(3):
        env.reset(seed=seed)
        expected.append([real.reset(seed=seed)[0]])
        over = False
        while not over:
            action = env.action_space.sample()
            over = any(env.step(action)[2:4])
            expected[-1].append(real.step(action)[0])
            steps += 1
    env.close()
    folder = str(only(tmp_path / "recordings"))
    environment = {**os.environ, "MINARI_DATASETS_PATH": str(tmp_path / "minari")}
    command = [sys.executable, "-m", "rlbridge", "recording"]
    options = {"capture_output": True, "text": True, "timeout": 60, "cwd": ROOT, "env": environment}
    done = subprocess.run([*command, "minari", folder, "rlbridge/cartpole-v0"], **options)
    assert done.stdout == f"rlbridge/cartpole-v0: 3 episodes, {steps} steps\n", done.stderr
    again = subprocess.run([*command, "minari", folder, "rlbridge/cartpole-v0"], **options)
    assert again.returncode == 2
    assert "already" in again.stderr
    code = (
        "import minari, json; d = minari.load_dataset('rlbridge/cartpole-v0')\n"
        "print(json.dumps([[e.observations.tolist(), e.terminations.tolist()[-1], len(e.actions)]\n"
        "                  for e in d.iterate_episodes()]))"
    )
    read = json.loads(subprocess.run([sys.executable, "-c", code], check=True, **options).stdout)
    for observations, (seen, terminated, actions) in zip(expected, read, strict=True):
        assert np.array_equal(np.array(seen, np.float32), observations)
        assert terminated
        assert actions == len(observations) - 1
    shown = subprocess.run([*command, "show", folder, "--json"], check=True, **options)
    assert [e["steps"] for e in json.loads(shown.stdout)["episodes"]] == [len(o) - 1 for o in expected]
