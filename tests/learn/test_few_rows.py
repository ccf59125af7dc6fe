"""Acting in numpy: the same actions as torch's, whatever the networks, and with the weights of the moment."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlbridge.config import load_config
from rlbridge.learn import Policy
from rlbridge.learn.few_rows import MOST_PRODUCTS, FewRows
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.minimise import Minimiser

SEEN = spaces.Box(-5.0, 5.0, (3,), np.float32)
ARM = spaces.Box(-2.0, 3.0, (2,), np.float32)
FOUR = spaces.Discrete(4)
MANY = spaces.MultiDiscrete([2, 5, 3])


def policy_for(name="ppo", space=FOUR, hidden=(16, 16), activation="tanh", seen=SEEN, **settings):
    algorithm = {"name": name, "total_steps": 10_000, "normalise_observations": True, **settings}
    config = load_config({"algorithm": algorithm, "network": {"hidden": list(hidden), "activation": activation}})
    policy = Policy(config.algorithm, config.network, seen, space, Initialiser(1), 2)
    with torch.no_grad():
        for parameter in policy.parameters():  # a new head hardly says anything
            parameter.normal_(0.0, 0.5, generator=policy.generator)
    if policy.normaliser is not None:
        policy.normaliser.update(torch.randn(50, 3, generator=policy.generator) * 3.0 + 1.0)
    return policy


@torch.inference_mode()
def by_torch(policy, rows, noise):
    outputs = policy(torch.from_numpy(rows))
    if noise is None:
        return policy.distribution.mode(outputs).numpy()
    return policy.distribution.sample(outputs, torch.from_numpy(noise)).numpy()


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "silu"])
@pytest.mark.parametrize(
    ("name", "space", "settings"),
    [
        ("ppo", FOUR, {}),
        ("ppo", MANY, {}),
        ("ppo", ARM, {}),
        ("dqn", FOUR, {}),
        ("dqn", FOUR, {"dueling": True}),
        ("ddpg", ARM, {}),
        ("sac", ARM, {}),
        ("sac", ARM, {"normalise_observations": False}),
    ],
)
@pytest.mark.parametrize("rows", [1, 7])
def test_actions_are_those_of_torch(name, space, settings, activation, rows):
    policy = policy_for(name, space, activation=activation, **settings)
    observed = np.random.default_rng(0).normal(0.0, 4.0, (rows, 3)).astype(np.float32)
    assert policy._few_rows.takes(rows)
    for noise in (None, policy.distribution.noise(rows, generator=policy.generator).numpy()):
        drawn, expected = policy.draw(observed, noise), by_torch(policy, observed, noise)
        assert (drawn.dtype, drawn.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-5)


def test_it_acts_with_the_weights_of_the_moment():
    policy = policy_for(space=ARM)
    observed = np.ones((4, 3), np.float32)
    seen = [policy.draw(observed, None)]

    def moved():
        seen.append(policy.draw(observed, None))
        np.testing.assert_allclose(seen[-1], by_torch(policy, observed, None), rtol=1e-4, atol=1e-5)
        assert np.abs(seen[-1] - seen[-2]).max() > 1e-3

    minimiser = Minimiser(list(policy.parameters()), 0.1, None)  # moves them all into one vector
    minimiser.gradient.fill_(1.0)
    minimiser.descend()
    moved()
    policy.normaliser.update(torch.full((50, 3), 9.0))
    moved()
    policy.load_state_dict(policy_for(space=ARM, hidden=(16, 16), activation="relu").state_dict())
    policy.load_state_dict({name: value * 0.5 for name, value in policy.state_dict().items()})
    moved()


def test_wide_layers_many_rows_and_pictures_are_for_torch():
    few = FewRows(None, [policy_for(hidden=(256, 256)).trunk])
    assert few.takes(MOST_PRODUCTS // 256**2)
    assert not few.takes(MOST_PRODUCTS // 256**2 + 1)
    picture = policy_for(seen=spaces.Box(0, 255, (36, 36, 1), np.uint8), normalise_observations=False)
    assert not picture._few_rows.takes(1)
    wide, observed = policy_for(hidden=(256, 256)), np.ones((64, 3), np.float32)
    assert not wide._few_rows.takes(64)
    assert (wide.draw(observed, None) == by_torch(wide, observed, None)).all()
