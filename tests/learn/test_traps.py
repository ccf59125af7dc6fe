"""Small things that decide whether PPO learns, each by itself; and that the table of traps is up to date."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import Counter, collector_for, learner_for

from rlbridge.config import PPOConfig
from tests.conftest import ROOT

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


def ppo(**settings):
    envs = SyncVectorEnv([lambda: Counter(5, action_space=BOX)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return learner_for(envs, network={"hidden": [16, 12]}, **settings), envs


def gain_of(weight):
    """The gain of an orthogonal matrix: the length of its rows, or of its columns if there are fewer."""
    rows, columns = weight.shape
    product = weight @ weight.T if rows <= columns else weight.T @ weight
    gain = float(product.diagonal().mean().sqrt())
    torch.testing.assert_close(product, gain**2 * torch.eye(len(product)), atol=1e-5, rtol=1e-4)
    return gain


def test_layers_begin_orthogonal_with_gains_root_2_then_a_hundredth_for_actions_and_1_for_values():
    learner, _ = ppo()
    trunk, critic = learner.policy.trunk, learner.critic
    for weight in (trunk.weight0, trunk.weight1, critic.weight0, critic.weight1):
        assert gain_of(weight.detach()) == pytest.approx(math.sqrt(2.0), rel=1e-4)
    assert gain_of(learner.policy.head.weight0.detach()) == pytest.approx(0.01, rel=1e-4)
    assert gain_of(critic.weight2.detach()) == pytest.approx(1.0, rel=1e-4)
    for net in (trunk, critic, learner.policy.head):
        assert all(not weights.any() for name, weights in net.named_parameters() if name.startswith("bias"))


def test_adams_epsilon_is_the_one_of_ppo():
    """A gradient as small as epsilon moves a weight by half the learning rate, not by all of it."""
    minimiser = ppo()[0].minimiser
    minimiser.learning_rate, before = 0.1, minimiser.flat.clone()
    minimiser.gradient.fill_(0.0)[0] = 1e-5
    minimiser.descend()
    moved = minimiser.flat - before
    assert float(moved[0]) == pytest.approx(-0.05, rel=1e-3)
    assert not moved[1:].any()


def test_gradients_are_cut_at_one_half_unless_told_otherwise():
    assert PPOConfig().max_gradient_norm == 0.5
    learner, envs = ppo(rollout_steps=8, normalise_rewards=False)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(2)
    collector.collect(rollout)
    rollout.reward *= 1e4
    metrics = learner.update(rollout, 0.0)
    assert metrics["train/gradient_norm"] > 1e3
    # What Adam saw is the clipped one: its second moment is a mean of squares that sum to at most 1/4 each.
    assert float(learner.minimiser.second_moment.sum()) <= 0.25 * (1.0 - 0.999**learner.minimiser.steps) * 1.001


def test_advantages_are_normalised_within_each_minibatch():
    learner, envs = ppo(rollout_steps=16)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(2)
    collector.collect(rollout)
    batch, _ = learner._prepare(rollout)
    part = type(batch)(*(column[:10] for column in batch))
    gradients = []
    for advantage in (part.advantage, 37.0 * part.advantage + 1000.0):
        with torch.no_grad():
            learner.differentiate(part._replace(advantage=advantage), 0.2, False)
        gradients.append(learner.minimiser.gradient.clone())
    assert gradients[0].abs().max() > 0.0
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)


def test_what_is_observed_moves_the_mean_of_an_action_and_not_its_spread():
    distribution = ppo()[0].policy.distribution
    distribution.log_std.data.fill_(-0.7)
    noise = torch.randn(100, 3)
    for outputs in (torch.zeros(100, 3), torch.randn(100, 3) * 5.0):
        spread = distribution.sample(outputs, noise) - distribution.mode(outputs)
        torch.testing.assert_close(spread, math.exp(-0.7) * noise, atol=1e-5, rtol=1e-4)


def traps():
    where = importlib.util.spec_from_file_location("mutate_traps", ROOT / "scripts" / "mutate_traps.py")
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module.TRAPS


@pytest.mark.parametrize("trap", traps(), ids=lambda trap: trap.name)
def test_the_table_of_traps_is_that_of_the_source(trap):
    text = (ROOT / trap.file).read_text(encoding="utf-8")
    assert text.count(trap.text) == 1, f"{trap.file} holds {trap.text!r} {text.count(trap.text)} times"
    compile(text.replace(trap.text, trap.mutant), trap.file, "exec")
    for test in trap.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test
