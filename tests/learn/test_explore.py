"""How off-policy learners try things: whose coin it is, how large the noise, and when it begins anew."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from scripted import Counter, learner_for

from rlbridge.learn.explore import EpsilonGreedy, Noisy, explorer_for, truncated_normal

WIDE = spaces.Box(np.array([-0.1, 0.0], np.float32), np.array([0.1, 50.0], np.float32))


def policy_for(action_space, num_envs=1, **algorithm):
    envs = SyncVectorEnv([lambda: Counter(3, action_space=action_space)] * num_envs)
    learner = learner_for(envs, network={"hidden": [8]}, **algorithm)
    return learner.policy, learner.config


def greedy(n_actions=1_000, **settings):
    """An explorer over so many actions that a random one is hardly ever the best."""
    policy, config = policy_for(spaces.Discrete(n_actions), name="dqn", **settings)
    return EpsilonGreedy(policy, config, seed=0)


def explored(explorer, observation, steps=0):
    best = explorer.policy.raw(observation, deterministic=True)
    return (explorer.act(observation, steps) != best)[:, 0]


def test_every_environment_tosses_its_own_coin():
    explorer = greedy(epsilon_start=0.5, epsilon_end=0.5)
    observation = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    tries = np.array([explored(explorer, observation) for _ in range(50)])
    # One coin for all would give 0 or 100 of them, never some.
    assert tries.sum(1).min() > 25
    assert tries.sum(1).max() < 75
    assert tries.mean() == pytest.approx(0.5, abs=0.04)
    assert abs(np.corrcoef(tries[:, 0], tries[:, 1])[0, 1]) < 0.5


def test_random_actions_differ_between_environments_too():
    explorer = greedy(epsilon_start=1.0, epsilon_end=1.0)
    assert len(np.unique(explorer.act(np.zeros((50, 2), np.float32), 0))) > 40


@pytest.mark.parametrize(
    ("schedule", "wanted"), [("linear", [1.0, 0.55, 0.1, 0.1]), ("exponential", [1.0, 0.1**0.5, 0.1, 0.1])]
)
def test_epsilon_falls_over_its_part_of_the_run(schedule, wanted):
    explorer = greedy(total_steps=10_000, epsilon_fraction=0.2, epsilon_end=0.1, epsilon_schedule=schedule)
    assert [explorer.epsilon(steps) for steps in (0, 1_000, 2_000, 9_000)] == pytest.approx(wanted)
    observation = np.zeros((5_000, 2), np.float32)
    assert explored(explorer, observation, 1_000).mean() == pytest.approx(wanted[1], abs=0.03)


def test_greedy_never_explores():
    assert not explored(greedy(exploration="greedy"), np.zeros((1_000, 2), np.float32)).any()


def test_gaussian_epsilon_varies_around_the_mean_within_its_bounds():
    drawn = truncated_normal(0.1, 0.2, 100_000, np.random.default_rng(0))
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    # Mean of a normal(0.1, 0.2) cut off at 0 and 1: mu + sigma (phi(a) - phi(b)) / (Phi(b) - Phi(a)).
    assert drawn.mean() == pytest.approx(0.1 + 0.2 * 0.35207 / 0.69146, abs=0.002)
    explorer = greedy(exploration="gaussian_epsilon", epsilon_start=0.5, epsilon_end=0.5, epsilon_deviation=0.05)
    assert explored(explorer, np.zeros((5_000, 2), np.float32)).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("noise", ["gaussian", "ornstein_uhlenbeck"])
def test_noise_is_in_parts_of_each_dimensions_own_range(noise):
    policy, config = policy_for(WIDE, name="td3", noise=noise, noise_std=0.1)
    observation = np.zeros((20_000, 2), np.float32)
    before = policy.actions.to_environment(policy.raw(observation, deterministic=True))
    after = policy.actions.to_environment(Noisy(policy, config, 20_000, seed=0).act(observation, 0))
    # Half ranges are 0.1 and 25.
    assert (after - before).std(0) == pytest.approx([0.01, 2.5], rel=0.03)
    assert (after >= WIDE.low).all()
    assert (after <= WIDE.high).all()


def walk(steps, ended=None, **settings):
    """What is added to the actions of 500 environments; ``[T, N]``."""
    space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    policy, config = policy_for(space, name="ddpg", noise="ornstein_uhlenbeck", **settings)
    observation = np.zeros((500, 2), np.float32)
    explorer, added = Noisy(policy, config, 500, seed=0), []
    for step in range(steps):
        added.append((explorer.act(observation, 0) - policy.raw(observation, True))[:, 0])
        if step == ended:
            explorer.ended(np.arange(500) < 250)
    return np.array(added)


def test_the_walk_reverts_to_zero_and_is_each_environments_own():
    added = walk(60, noise_std=0.05, noise_theta=0.15)
    late = added[30:]
    # Stationary: deviation std / sqrt(1 - (1 - theta)^2), correlation 1 - theta from one step to the next.
    assert late.std() == pytest.approx(0.05 / np.sqrt(1 - 0.85**2), rel=0.05)
    assert np.corrcoef(late[:-1].ravel(), late[1:].ravel())[0, 1] == pytest.approx(0.85, abs=0.03)
    assert abs(np.corrcoef(late[-1, :-1], late[-1, 1:])[0, 1]) < 0.15


def test_the_walk_begins_anew_with_each_episode():
    added = walk(21, ended=19, noise_std=0.05, noise_theta=0.15)
    assert added[20, :250].std() == pytest.approx(0.05, rel=0.15)
    assert added[20, 250:].std() > 0.075


def test_gaussian_noise_has_no_memory_and_none_is_none():
    space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    policy, config = policy_for(space, name="ddpg")
    explorer, observation = Noisy(policy, config, 5_000, seed=0), np.zeros((5_000, 2), np.float32)
    first, second = (explorer.act(observation, 0)[:, 0] for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    policy, config = policy_for(space, name="ddpg", noise="none")
    assert Noisy(policy, config, 1, seed=0).act(observation[:1], 0) == policy.raw(observation[:1], True)


@pytest.mark.parametrize("name", ["dqn", "ddpg", "td3", "sac"])
def test_the_first_actions_are_uniform_and_then_the_explorers(name):
    space = spaces.Discrete(100) if name == "dqn" else spaces.Box(-1.0, 1.0, (1,), np.float32)
    settings = {"exploration": "greedy"} if name == "dqn" else {}
    policy, config = policy_for(space, name=name, learning_starts=50, **settings)
    explorer = explorer_for(config, policy, 1_000, seed=0)
    observation = np.zeros((1_000, 2), np.float32)
    first = explorer.act(observation, 49)
    drawing = policy.generator.get_state()
    then = explorer.act(observation, 50)
    if name == "dqn":
        assert len(np.unique(first)) == 100
        assert len(np.unique(then)) == 1
    else:
        assert first.std() == pytest.approx(1 / np.sqrt(3), rel=0.05)
        assert (np.abs(first) <= 1.0).all()
        assert (np.abs(then) <= 1.0).all()
        policy.generator.set_state(drawing)
        if name == "sac":
            np.testing.assert_array_equal(then, policy.raw(observation, deterministic=False))
        else:
            assert then.std() == pytest.approx(config.noise_std, rel=0.1)


def test_a_state_restores_what_will_be_tried():
    space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    policy, config = policy_for(space, name="ddpg", noise="ornstein_uhlenbeck", learning_starts=2)
    observation = np.zeros((3, 2), np.float32)
    explorer, other = (explorer_for(config, policy, 3, seed) for seed in (0, 7))
    for steps in range(4):
        explorer.act(observation, steps)
    other.load_state_dict(explorer.state_dict())
    for steps in (0, 4, 5):
        assert explorer.act(observation, steps).tolist() == other.act(observation, steps).tolist()
