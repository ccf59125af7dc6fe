"""Evaluation: which episodes count, and that they are the same ones every time."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import Counter, Disowning, learner_for

from rlbridge.client import make_vec
from rlbridge.learn import evaluate

BOTH = pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])


def policy_for(envs):
    return learner_for(envs, network={"hidden": [4]}).policy


@BOTH
def test_returns_and_lengths_are_raw_and_whole(mode):
    envs = SyncVectorEnv([lambda: Counter(3)] * 2, autoreset_mode=mode)
    result = evaluate(policy_for(envs), envs, episodes=5, seed=0)
    assert result.to_dict() == {
        "episodes": 5,
        "return_mean": 6.0,
        "return_std": 0.0,
        "length_mean": 3.0,
        "returns": [6.0] * 5,
    }


@BOTH
def test_short_episodes_are_not_favoured(mode):
    envs = SyncVectorEnv([lambda: Counter(2), lambda: Counter(10)], autoreset_mode=mode)
    result = evaluate(policy_for(envs), envs, episodes=4, seed=0)
    assert sorted(result.returns) == [3.0, 3.0, 55.0, 55.0]


@BOTH
def test_an_episode_that_the_bridge_disowned_is_played_again(mode):
    envs = Disowning(SyncVectorEnv([lambda: Counter(3)] * 2, autoreset_mode=mode), every=2)
    envs.every = 5
    result = evaluate(policy_for(envs), envs, episodes=4, seed=0)
    assert len(result.returns) == 4
    assert all(np.isfinite(result.returns))


def test_same_seed_same_episodes():
    envs = make_vec("CartPole-v1", 3, autoreset_mode=AutoresetMode.SAME_STEP)
    policy = policy_for(envs)
    first = evaluate(policy, envs, 7, seed=5)
    assert evaluate(policy, envs, 7, seed=5) == first
    assert evaluate(policy, envs, 7, seed=6) != first


def test_actions_have_the_environments_numbering():
    envs = SyncVectorEnv([lambda: Counter(3, action_space=spaces.Discrete(2, start=7))])
    evaluate(policy_for(envs), envs, 1, seed=0)
    assert set(map(int, envs.envs[0].received)) <= {7, 8}
