"""A policy alone: spaces in and out, log-probabilities, statistics that travel with it."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from torch.distributions import Categorical, Independent, Normal

from rlbridge.config import NetworkConfig, PPOConfig
from rlbridge.learn import Policy, UnsupportedSpace, weights_digest
from rlbridge.learn.initialiser import Initialiser
from rlbridge.play.encoding import Encoder
from rlbridge.play.space_state import space_from_state, space_to_state

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
NESTED = spaces.Dict(
    {
        "b": spaces.Box(-1, 1, (2, 2), np.float64),
        "a": spaces.Discrete(3, start=2),
        "pair": spaces.Tuple([spaces.MultiBinary(2), spaces.MultiDiscrete([2, 4], start=[0, 5])]),
    }
)


TWO = spaces.Discrete(2)


def policy_for(observation_space=BOX, action_space=TWO, normalise=True, seed=0):
    config = PPOConfig(normalise_observations=normalise)
    return Policy(config, NetworkConfig(hidden=[8]), observation_space, action_space, Initialiser(seed), seed)


class Observer(gymnasium.Env):
    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}


@pytest.mark.parametrize(
    "space", [BOX, spaces.Discrete(4, start=-2), spaces.MultiDiscrete([3, 2]), spaces.MultiBinary((2, 3)), NESTED]
)
def test_batches_are_encoded_as_gymnasium_flattens_single_ones(space):
    envs = SyncVectorEnv([lambda: Observer(space)] * 3)
    observations, _ = envs.reset(seed=5)
    encoder = Encoder(space)
    singles = []
    for i in range(3):
        space.seed(5 + i)
        singles.append(space.sample())
    rows = encoder.batch(observations)
    assert (rows.dtype, rows.shape) == (np.float32, (3, encoder.size))
    assert rows.tolist() == [spaces.flatten(space, single).astype(np.float32).tolist() for single in singles]
    assert encoder.is_batch(observations)
    assert not any(encoder.is_batch(single) for single in singles)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=4),
        spaces.Box(-2.0, 5.0, (2, 2), np.float64),
        spaces.Box(0, 10, (2,), np.int64),
        spaces.Box(-np.inf, np.inf, (1,), np.float32),
        spaces.Box(0.0, np.inf, (1,), np.float32),
        spaces.MultiDiscrete([2, 3], start=[1, 0]),
        spaces.MultiBinary(4),
    ],
)
def test_actions_belong_to_the_space_one_or_many(space):
    policy = policy_for(action_space=space)
    observations = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    for deterministic in (True, False):
        actions = policy.act(observations, deterministic)
        assert actions.shape == (200, *space.shape)
        assert actions.dtype == space.dtype
        assert all(space.contains(action) for action in actions)
        assert space.contains(policy.act(observations[0], deterministic))
    # Not bit for bit: matrix products of other sizes sum in another order.
    assert policy.act(observations, True)[7] == pytest.approx(policy.act(observations[7], True), abs=1e-5)


def test_log_probability_and_entropy_agree_with_torch():
    discrete = policy_for(action_space=spaces.Discrete(4)).distribution
    outputs, raw = torch.randn(6, 4), torch.tensor([[0], [1], [2], [3], [0], [1]])
    log_prob, entropy = discrete.log_prob(outputs, raw), discrete.entropy(outputs)
    torch.testing.assert_close(log_prob, Categorical(logits=outputs).log_prob(raw[:, 0]))
    torch.testing.assert_close(entropy, Categorical(logits=outputs).entropy())

    gaussian = policy_for(action_space=BOX).distribution
    gaussian.log_std.data.copy_(torch.tensor([0.3, -1.0, 0.0]))
    outputs, raw = torch.randn(6, 3), torch.randn(6, 3)
    reference = Independent(Normal(outputs, gaussian.log_std.exp()), 1)
    log_prob, entropy = gaussian.log_prob(outputs, raw), gaussian.entropy(outputs)
    torch.testing.assert_close(log_prob, reference.log_prob(raw))
    torch.testing.assert_close(entropy, reference.entropy())


def test_choices_of_different_sizes_do_not_leak_into_each_other():
    distribution = policy_for(action_space=spaces.MultiDiscrete([2, 4])).distribution
    outputs, raw = torch.randn(5, 8), torch.tensor([[0, 3], [1, 0], [0, 1], [1, 2], [0, 0]])
    log_prob, entropy = distribution.log_prob(outputs, raw), distribution.entropy(outputs)
    two, four = Categorical(logits=outputs[:, :2]), Categorical(logits=outputs[:, 4:])
    torch.testing.assert_close(log_prob, two.log_prob(raw[:, 0]) + four.log_prob(raw[:, 1]))
    torch.testing.assert_close(entropy, two.entropy() + four.entropy())


def test_drawn_actions_have_the_distributions_frequencies():
    distribution = policy_for(action_space=spaces.Discrete(3)).distribution
    outputs = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).expand(20_000, 3)
    noise = distribution.noise(20_000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(distribution.sample(outputs, noise)[:, 0], minlength=3) / 20_000
    torch.testing.assert_close(counts, torch.tensor([0.2, 0.5, 0.3]), atol=0.015, rtol=0.0)


def test_acting_draws_from_the_policys_own_generator_only():
    policy, twin = policy_for(action_space=BOX), policy_for(action_space=BOX)
    before = torch.get_rng_state()
    observation = np.zeros(3, np.float32)
    first = [policy.act(observation) for _ in range(3)]
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert np.array_equal(first, [twin.act(observation) for _ in range(3)])


def test_statistics_match_numpy_and_stay_frozen_when_acting():
    policy = policy_for()
    rows = np.random.default_rng(0).normal([5.0, -100.0, 0.0], [1.0, 30.0, 0.01], (1000, 3)).astype(np.float32)
    for part in np.split(rows, [10, 500]):
        policy.normaliser.update(torch.from_numpy(part))
    assert policy.normaliser.mean.numpy() == pytest.approx(rows.mean(0, dtype=np.float64), rel=1e-6)
    assert policy.normaliser.variance.numpy() == pytest.approx(rows.var(0, dtype=np.float64), rel=1e-6)
    digest = weights_digest(policy)
    policy.act(rows)
    assert weights_digest(policy) == digest


def test_the_digest_sees_every_weight_and_statistic():
    policy = policy_for()
    digest = weights_digest(policy)
    assert weights_digest(policy_for()) == digest
    assert weights_digest(policy_for(seed=1)) != digest
    for name in policy.state_dict():
        other = copy.deepcopy(policy)
        other.state_dict()[name].view(-1)[0] += 1
        assert weights_digest(other) != digest, name


@pytest.mark.parametrize(
    ("observation_space", "action_space", "words"),
    [
        (spaces.Text(5), spaces.Discrete(2), "Text space"),
        (spaces.Dict({"x": spaces.Sequence(BOX)}), spaces.Discrete(2), r"observation\['x'\] is a Sequence"),
        (spaces.Dict({"x": spaces.Box(0, 255, (84, 84, 3), np.uint8)}), spaces.Discrete(2), "among other parts"),
        (BOX, spaces.Dict({"x": BOX}), "actions are a Dict space"),
    ],
)
def test_spaces_it_cannot_use_are_refused_with_the_reason(observation_space, action_space, words):
    with pytest.raises(UnsupportedSpace, match=words):
        policy_for(observation_space, action_space)


@pytest.mark.parametrize(
    "space", [BOX, NESTED, spaces.Box(-np.inf, 3, (2,), np.float64), spaces.Box(0, 9, (), np.int32)]
)
def test_spaces_survive_being_state(space):
    assert space_from_state(space_to_state(space)) == space
