"""The learner: minibatches, determinism, and that it learns."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import Bandit, Counter, collector_for, learner_for

from rlbridge.client import make_vec
from rlbridge.learn import evaluate, weights_digest
from rlbridge.learn.initialiser import orthogonal
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.normalise import RewardScale

SAME = AutoresetMode.SAME_STEP


def build(envs, seed=0, **settings):
    learner = learner_for(envs, seed, **settings)
    return learner, collector_for(envs, learner.policy, seed), learner.rollout(envs.num_envs)


def train(envs, steps, seed=0, **settings):
    learner, collector, rollout = build(envs, seed, **settings)
    while collector.transitions < steps:
        progress = collector.transitions / steps
        collector.collect(rollout)
        learner.update(rollout, progress)
    return learner, collector


def test_minibatches_are_a_partition_every_epoch(monkeypatch):
    envs = SyncVectorEnv([lambda: Counter(100)] * 3, autoreset_mode=SAME)
    settings = {"rollout_steps": 9, "minibatch_size": 10, "epochs": 2, "normalise_observations": False}
    learner, collector, rollout = build(envs, **settings)
    collector.collect(rollout)
    rollout.observation_np[:-1, :, 0] = np.arange(27).reshape(9, 3)  # a name for every transition
    seen = []
    differentiate = learner.differentiate
    monkeypatch.setattr(
        learner,
        "differentiate",
        lambda batch, *rest: seen.append(batch.rows[:, 0].tolist()) or differentiate(batch, *rest),
    )
    learner.update(rollout, 0.0)
    assert [len(batch) for batch in seen] == [10, 10, 7] * 2
    epochs = [[name for batch in part for name in batch] for part in (seen[:3], seen[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(27))
    assert epochs[0] != epochs[1]


def test_the_ratio_is_one_before_the_first_gradient_step():
    envs = make_vec("Pendulum-v1", 2, autoreset_mode=SAME)
    learner, collector, rollout = build(envs, rollout_steps=16, epochs=1, minibatch_size=32)
    for _ in range(2):
        collector.collect(rollout)
        metrics = learner.update(rollout, 0.0)
        assert metrics["train/clip_fraction"] == 0.0
        assert metrics["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("clip_value", [False, True])
@pytest.mark.parametrize("target", ["CartPole-v1", "Pendulum-v1"])
def test_the_gradient_is_that_of_the_paper(target, clip_value, shared):
    """Equation 9 differentiated as it stands, against what the learner does by hand."""
    envs = make_vec(target, 4, autoreset_mode=SAME)
    settings = {"entropy_coefficient": 0.1, "normalise_advantage": False, "learning_rate": 0.02}
    learner, collector, rollout = build(envs, network={"shared": shared}, clip_value=clip_value, **settings)
    for _ in range(2):  # the second time, far enough from the old policy for the clip to bind
        collector.collect(rollout)
        batch, _ = learner._prepare(rollout)
        learner._epoch(batch, clip=0.01, measure=False)
        policy, parameters = learner.policy, learner.minimiser.parameters
        features = policy.trunk(batch.rows)
        outputs = policy.head(features)
        ratio = (policy.distribution.log_prob(outputs, batch.action) - batch.old_log_prob).exp()
        surrogate = torch.min(ratio * batch.advantage, ratio.clamp(0.99, 1.01) * batch.advantage).mean()
        value = learner.critic(features if shared else batch.rows).squeeze(-1)
        squares = (value - batch.target).square()
        if clip_value:
            clipped = batch.old_value + (value - batch.old_value).clamp(-0.01, 0.01)
            assert (squares < (clipped - batch.target).square()).any()
            squares = torch.max(squares, (clipped - batch.target).square())
        loss = 0.5 * squares.mean() - surrogate - 0.1 * policy.distribution.entropy(outputs).mean()
        with torch.no_grad():
            metrics = learner.differentiate(batch, 0.01, True)
        assert metrics["train/clip_fraction"] > 0.05
        torch.testing.assert_close(metrics["train/loss"], loss.detach())
        for parameter, wanted in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            torch.testing.assert_close(parameter.grad, wanted, atol=1e-6, rtol=1e-4)


def test_an_update_stops_early_once_the_divergence_is_too_large(monkeypatch):
    envs = make_vec("CartPole-v1", 4, autoreset_mode=SAME)
    learner, collector, rollout = build(envs, target_kl=1e-6, epochs=10, minibatch_size=64)
    collector.collect(rollout)
    epochs = []
    epoch = learner._epoch
    monkeypatch.setattr(learner, "_epoch", lambda *args, **kwargs: epochs.append(1) or epoch(*args, **kwargs))
    learner.update(rollout, 0.0)
    assert 1 <= len(epochs) < 10


def test_a_rollout_without_transitions_teaches_nothing():
    envs = make_vec("CartPole-v1", 2, autoreset_mode=SAME)
    learner, collector, rollout = build(envs, rollout_steps=8)
    collector.collect(rollout)
    rollout.valid[:] = False
    digest = weights_digest(learner.policy)
    assert learner.update(rollout, 0.0) == {}
    assert weights_digest(learner.policy) == digest


def test_schedules_fall_with_progress():
    envs = make_vec("CartPole-v1", 2, autoreset_mode=SAME)
    learner, collector, rollout = build(envs, learning_rate=1e-3, clip_range_schedule="linear", rollout_steps=8)
    collector.collect(rollout)
    metrics = learner.update(rollout, 0.75)
    assert metrics["train/learning_rate"] == pytest.approx(0.25e-3)
    assert metrics["train/clip_range"] == pytest.approx(0.05)


@pytest.mark.parametrize("target", ["CartPole-v1", "Pendulum-v1"])
def test_same_seed_same_weights(target):
    def weights(seed):
        settings = {"rollout_steps": 32, "minibatch_size": 32, "epochs": 2, "clip_value": True}
        learner, _ = train(make_vec(target, 2, autoreset_mode=SAME), 200, seed, **settings)
        return weights_digest(learner.policy), weights_digest(learner.critic)

    torch.manual_seed(1)
    np.random.seed(1)
    first = weights(0)
    assert weights(0) == first
    assert weights(1) != first


def test_a_shared_trunk_is_trained_by_both_losses():
    envs = make_vec("CartPole-v1", 2, autoreset_mode=SAME)
    learner, collector, rollout = build(envs, network={"shared": True}, rollout_steps=16, epochs=1)
    assert sum(p.numel() for p in learner.critic.parameters()) == 65
    before = learner.policy.trunk.weight0.detach().clone()
    collector.collect(rollout)
    learner.update(rollout, 0.0)
    assert not torch.equal(before, learner.policy.trunk.weight0)


def test_minimiser_is_adam_with_clipping():
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    minimiser = Minimiser(ours, 0.01, max_gradient_norm=0.5)
    adam = torch.optim.Adam(theirs, lr=0.01, eps=1e-8)

    def loss(a, b):
        return (a.sin().sum() * b.sum() + (b**2).sum()) * 3

    for _ in range(20):
        minimiser.step(loss(*ours))
        adam.zero_grad()
        loss(*theirs).backward()
        torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        adam.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4)])
def test_initial_weights_are_orthogonal(shape):
    weight = orthogonal(*shape, 2.0, torch.Generator().manual_seed(0))
    product = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    torch.testing.assert_close(product, 4.0 * torch.eye(min(shape)))


def test_reward_scale_is_the_deviation_of_discounted_returns_across_rollouts():
    rng = np.random.default_rng(0)
    rewards = rng.normal(3.0, 50.0, (30, 2)).astype(np.float32)
    ended = rng.random((30, 2)) < 0.2
    scale = RewardScale(2, 0.9)
    scale(rewards[:10], ended[:10])
    scaled = scale(rewards[10:], ended[10:])
    returns, seen = np.zeros(2), []
    for reward, end in zip(rewards, ended, strict=True):
        returns = 0.9 * returns + reward
        seen.append(returns.copy())
        returns[end] = 0.0
    assert scaled == pytest.approx(rewards[10:] / np.std(seen), rel=1e-5)


def test_it_learns_cartpole():
    learner, collector = train(make_vec("CartPole-v1", 8, autoreset_mode=SAME), 20_000, rollout_steps=64)
    assert np.mean([episode.total for episode in collector.take_episodes()[-20:]]) > 150
    envs = make_vec("CartPole-v1", 10, autoreset_mode=SAME)
    assert evaluate(learner.policy, envs, 10, seed=1234).return_mean > 200


def test_it_learns_a_continuous_action_in_its_own_units():
    envs = SyncVectorEnv([Bandit] * 8, autoreset_mode=SAME)
    learner, _ = train(envs, 20_000, gamma=0.0, gae_lambda=0.0, rollout_steps=64, learning_rate=3e-3)
    # Wanted: 10 + 12 x on a space of -10..30.
    for x in (-0.8, 0.0, 0.8):
        action = learner.policy.act(np.array([x], np.float32), deterministic=True)
        assert action[0] == pytest.approx(10.0 + 12.0 * x, abs=2.5)
