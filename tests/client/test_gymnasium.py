"""Gymnasium's checker, wrappers and Stable-Baselines3 on remote environments, unchanged: the real packages."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import NormalizeObservation, RecordEpisodeStatistics, RecordVideo, TimeLimit
from gymnasium.wrappers import vector as vector_wrappers

import rlbridge


@pytest.fixture
def cartpole(serve):
    return serve("CartPole-v1").urls[0]


@pytest.mark.filterwarnings("ignore:.*render.*:UserWarning")
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "tests.envs:Continuous"])
def test_gymnasiums_checker_accepts_a_remote_environment(serve, env):
    remote = rlbridge.make(serve(env).urls[0])
    check_env(remote, skip_render_check=True)
    remote.close()


def test_it_is_registered_for_make_and_make_vec(cartpole):
    env = gymnasium.make("rlbridge/Remote-v0", target=cartpole)
    assert env.reset(seed=0)[0].shape == (4,)
    env.close()
    envs = gymnasium.make_vec("rlbridge/Remote-v0", num_envs=3, target=cartpole)
    assert envs.reset(seed=0)[0].shape == (3, 4)
    envs.close()


def test_single_wrappers_give_what_they_give_locally(cartpole):
    def episode(env):
        env = NormalizeObservation(RecordEpisodeStatistics(TimeLimit(env, 15)))
        observations = [env.reset(seed=3)[0]]
        over = False
        while not over:
            observation, _, terminated, truncated, info = env.step(len(observations) % 2)
            observations.append(observation)
            over = terminated or truncated
        env.close()
        return np.stack(observations), float(info["episode"]["r"]), int(info["episode"]["l"])

    remote, local = episode(rlbridge.make(cartpole)), episode(gymnasium.make("CartPole-v1"))
    np.testing.assert_array_equal(remote[0], local[0])
    assert remote[1:] == local[1:]


def test_record_video_writes_a_film_of_a_remote_environment(serve, tmp_path):
    env = rlbridge.make(serve("tests.envs:Counter").urls[0], render_mode="rgb_array")
    assert env.metadata["render_fps"] == 7
    env = RecordVideo(env, str(tmp_path), episode_trigger=lambda episode: True, disable_logger=True)
    env.reset(seed=0)
    over = False
    while not over:
        _, _, terminated, truncated, _ = env.step(0)
        over = terminated or truncated
    env.close()
    films = list(tmp_path.glob("*.mp4"))
    assert len(films) == 1
    assert films[0].stat().st_size > 500


def test_rendering_is_on_demand_text_or_pictures_single_or_batched(serve):
    url = serve("tests.envs:Counter").urls[0]
    env = rlbridge.make(url, render_mode="ansi")
    env.reset(seed=0)
    env.step(0)
    assert env.render() == "episode 0 step 1"
    env.close()
    envs = rlbridge.make_vec(url, 2, render_mode="rgb_array")
    envs.reset(seed=0)
    envs.step(np.array([0, 0]))
    frames = envs.render()
    assert [frame.shape for frame in frames] == [(4, 6, 3)] * 2
    assert (frames[0] == 1).all()
    envs.close()
    with pytest.raises(
        rlbridge.errors.Unsupported, match="cannot render 'human' for a client; it can: rgb_array, ansi"
    ):
        rlbridge.make(url, render_mode="human")


def test_vector_wrappers_give_what_they_give_locally(cartpole):
    def run(envs):
        envs = vector_wrappers.NormalizeObservation(vector_wrappers.RecordEpisodeStatistics(envs))
        envs = vector_wrappers.ClipReward(envs, min_reward=0.0, max_reward=0.5)
        envs.action_space.seed(1)
        rows = [envs.reset(seed=1)[0].copy()]
        returns = []
        for _ in range(120):
            observations, rewards, _, _, infos = envs.step(envs.action_space.sample())
            rows.append(observations.copy())
            assert rewards.max() <= 0.5
            if "episode" in infos:
                returns.extend(infos["episode"]["r"][infos["_episode"]].tolist())
        envs.close()
        return np.stack(rows), returns

    remote = run(rlbridge.make_vec(cartpole, 4))
    local = run(gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync"))
    np.testing.assert_array_equal(remote[0], local[0])
    assert remote[1] == local[1]
    assert remote[1]


def test_dict_info_to_list_works_on_the_columns(serve):
    envs = rlbridge.make_vec(serve("tests.envs:Counter").urls[0], 2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = vector_wrappers.DictInfoToList(envs)
    envs.reset(seed=0)
    *_, infos = envs.step(np.array([1, 2]))
    assert [info["action"] for info in infos] == [1, 2]
    envs.close()


def test_stable_baselines3_learns_the_same_weights_remotely_as_locally(cartpole):
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as sb3_check
    from stable_baselines3.common.env_util import make_vec_env

    def train(make):
        envs = make_vec_env(make, n_envs=2, seed=0)
        model = stable_baselines3.PPO("MlpPolicy", envs, n_steps=64, batch_size=32, seed=0, device="cpu")
        model.learn(256)
        envs.close()
        return {name: value.numpy() for name, value in model.policy.state_dict().items()}

    sb3_check(rlbridge.make(cartpole), warn=False, skip_render_check=True)
    remote, local = train(lambda: rlbridge.make(cartpole)), train(lambda: gymnasium.make("CartPole-v1"))
    assert remote.keys() == local.keys()
    for name in remote:
        np.testing.assert_array_equal(remote[name], local[name])
