"""Chance by its place: known answers of the generator, and what is drawn with it."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlbridge.learn.distributions import Categorical, DiagonalGaussian
from rlbridge.play import actions_of
from rlbridge.play.counter_random import normal, philox, uniform
from rlbridge.play.sampling import KINDS, PARAMETERS, Sampling, SamplingError

CHOICES = actions_of(spaces.MultiDiscrete([2, 4], start=[1, 0]))
RANGES = actions_of(spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32)))
ROWS, STEPS = 3, 4000


def sampling(way, kind=None, actions=RANGES, rows=ROWS, steps=STEPS, seed=7, first_step=0, walk=None, **parameters):
    walk = np.zeros((rows, actions.width), np.float32) if walk is None else walk
    return Sampling(way, kind, actions, rows, steps, seed, first_step, parameters, walk)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, words):
    found = philox(tuple(np.array([word], np.uint64) for word in counter), key)
    assert tuple(int(word[0]) for word in found) == words


def test_a_number_depends_on_seed_stream_row_and_step_alone():
    whole = uniform(5, 1, 2**40, 6, 4, 7)
    np.testing.assert_array_equal(uniform(5, 1, 2**40 + 2, 3, 2, 7), whole[2:5, :2])
    np.testing.assert_array_equal(uniform(5, 1, 2**40, 6, 4, 3), whole[..., :3])
    others = [uniform(6, 1, 2**40, 6, 4, 7), uniform(5, 2, 2**40, 6, 4, 7), uniform(5, 1, 2**40 + 6, 6, 4, 7)]
    others += [uniform(5 + 2**32, 1, 2**40, 6, 4, 7), uniform(5, 1, 2**40 + 2**32, 6, 4, 7)]
    for other in others:
        assert not np.isin(other, whole).any()
    assert whole.min() > 0.0
    assert whole.max() < 1.0


def test_normals_are_normal():
    drawn = normal(1, 0, 0, 20_000, 2, 3).reshape(-1, 6)
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(6), atol=0.04)
    np.testing.assert_allclose(np.mean(drawn**4, 0), 3.0, atol=0.25)


def test_categorical_draws_by_the_softmax_and_tells_its_logarithm():
    logits = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    logits[:, 2:4] = -1e9  # the smaller choice has two
    distribution = Categorical(CHOICES)
    draws = sampling("categorical", "categorical", CHOICES)
    raws = np.stack([draws.draw(t, {"logits": logits}) for t in range(STEPS)])
    chance = torch.softmax(torch.from_numpy(logits).view(ROWS, 2, 4), -1).numpy()
    for row in range(ROWS):
        for choice in range(2):
            found = np.bincount(raws[:, row, choice], minlength=4) / STEPS
            np.testing.assert_allclose(found, chance[row, choice], atol=0.03)
    told = draws.log_prob({"logits": logits}, raws[0])
    wanted = distribution.log_prob(torch.from_numpy(logits), torch.from_numpy(raws[0]))
    np.testing.assert_allclose(told, wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("per_row", [False, True])
def test_a_gaussian_has_its_mean_deviation_and_density(per_row):
    generator = np.random.default_rng(0)
    mean = generator.normal(size=(ROWS, 2)).astype(np.float32)
    log_std = generator.normal(size=2).astype(np.float32)
    outputs = {"mean": mean, "log_std": np.tile(log_std, (ROWS, 1)) if per_row else log_std}
    draws = sampling("diagonal_gaussian", "gaussian")
    raws = np.stack([draws.draw(t, outputs) for t in range(STEPS)])
    np.testing.assert_allclose(raws.mean(0), mean, atol=5 * np.exp(log_std).max() / STEPS**0.5)
    np.testing.assert_allclose(raws.std(0) / np.exp(log_std), 1.0, atol=0.06)
    distribution = DiagonalGaussian(RANGES)
    with torch.no_grad():
        distribution.log_std.copy_(torch.from_numpy(log_std))
        wanted = distribution.log_prob(torch.from_numpy(mean), torch.from_numpy(raws[0])).numpy()
    np.testing.assert_allclose(draws.log_prob(outputs, raws[0]), wanted, rtol=1e-5, atol=1e-5)
    squashed = sampling("squashed_gaussian", "squashed_gaussian")
    np.testing.assert_array_equal(squashed.draw(3, outputs), np.tanh(raws[3]))


@pytest.mark.parametrize(("epsilon", "share"), [(0.0, 0.0), (0.4, 0.3), (1.0, 0.75)])
def test_epsilon_greedy_takes_any_action_with_probability_epsilon(epsilon, share):
    actions = actions_of(spaces.Discrete(4, start=-2))
    draws = sampling("epsilon_greedy", "greedy", actions, epsilon=epsilon)
    best = np.array([[0, 0, 9, 0]] * ROWS, np.float32)
    raws = np.stack([draws.draw(t, {"q_values": best}) for t in range(STEPS)])
    assert raws.shape == (STEPS, ROWS, 1)
    assert (raws != 2).mean() == pytest.approx(share, abs=0.02)


def test_uniform_needs_no_policy():
    raws = np.stack([sampling("uniform").draw(t, {}) for t in range(500)])
    assert -1.0 <= raws.min() < -0.95
    assert 0.95 < raws.max() <= 1.0
    chosen = np.stack([sampling("uniform", None, CHOICES).draw(t, {}) for t in range(500)])
    assert [sorted(set(chosen[..., i].flat)) for i in (0, 1)] == [[0, 1], [0, 1, 2, 3]]


def test_a_walk_goes_on_from_where_it_was_and_stays_within_the_range():
    action = {"action": np.array([[0.2, 0.99]] * ROWS, np.float32)}
    whole_walk, parts_walk = (np.zeros((ROWS, 2), np.float32) for _ in range(2))
    options = {"way": "ornstein_uhlenbeck", "kind": "deterministic", "sigma": 0.2, "theta": 0.15}
    whole = sampling(**options, walk=whole_walk, steps=10)
    raws = [whole.draw(t, action) for t in range(10)]
    halves = [sampling(**options, walk=parts_walk, steps=5, first_step=first) for first in (0, 5)]
    np.testing.assert_array_equal([half.draw(t, action) for half in halves for t in range(5)], raws)
    np.testing.assert_array_equal(whole_walk, parts_walk)
    assert np.abs(raws).max() <= 1.0
    long = sampling(**options)
    steps = []
    for t in range(STEPS):
        long.draw(t, action)
        steps.append(long.walk.copy())
    # Its deviation is sigma / sqrt(1 - (1 - theta)^2).
    assert np.std(steps) == pytest.approx(0.2 / (1 - 0.85**2) ** 0.5, rel=0.05)


def test_additive_noise_has_no_memory():
    draws = sampling("additive_gaussian", "deterministic", sigma=0.1)
    raws = np.stack([draws.draw(t, {"action": np.zeros((ROWS, 2), np.float32)}) for t in range(STEPS)])
    assert raws.std() == pytest.approx(0.1, rel=0.03)
    assert abs(np.corrcoef(raws[1:, 0, 0], raws[:-1, 0, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("way", [way for way in KINDS if way != "uniform"])
def test_what_does_not_go_together_is_refused_by_name(way):
    parameters = dict.fromkeys(PARAMETERS.get(way, ()), 0.5)
    with pytest.raises(SamplingError, match=f"{way} sampling goes with .*; this one is moon"):
        sampling(way, "moon", **parameters)
    with pytest.raises(SamplingError, match="takes the parameters"):
        sampling(way, KINDS[way][0], colour=1.0, **parameters)
    for name in parameters:
        for value in (-0.1, float("nan"), float("inf")):
            with pytest.raises(SamplingError, match=f"{name} is"):
                sampling(way, KINDS[way][0], **{**parameters, name: value})
