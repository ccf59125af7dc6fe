"""DQN, DDPG, TD3 and SAC: each update against its paper's formulas, and that they learn what is known beforehand."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from loops import trained
from scripted import Bandit, Counter, learner_for

from rlbridge.learn import weights_digest
from rlbridge.learn.replay import Batch

BOX = spaces.Box(np.array([-0.1, 0.0], np.float32), np.array([0.1, 50.0], np.float32))
CONTINUOUS = ["ddpg", "td3", "sac"]
ALL = ["dqn", *CONTINUOUS]


def learner(name: str, network: dict[str, Any] | None = None, **settings: Any) -> Any:
    space = spaces.Discrete(5) if name == "dqn" else BOX
    envs = SyncVectorEnv([lambda: Counter(3, action_space=space)])
    return learner_for(envs, network={"hidden": [16], **(network or {})}, name=name, **settings)


def batch_for(learner: Any, size: int = 64, seed: int = 0, weighted: bool = True) -> Batch:
    rng = np.random.default_rng(seed)
    observation, following = rng.normal(size=(2, size, 2)).astype(np.float32)
    discount = np.where(rng.random(size) < 0.2, 0.0, 0.9).astype(np.float32)
    return Batch(
        torch.from_numpy(observation),
        torch.from_numpy(learner.policy.actions.random(size, rng)),
        torch.from_numpy(rng.normal(size=size).astype(np.float32)),
        torch.from_numpy(discount),
        torch.from_numpy(following),
        torch.from_numpy(rng.random(size).astype(np.float32) if weighted else np.ones(size, np.float32)),
        np.arange(size),
    )


def apart(learner: Any, updates: int = 20) -> Any:
    """The same learner after some updates: its targets are then not what they follow."""
    for seed in range(updates):
        learner.update(batch_for(learner, seed=seed))
    return learner


def own_noise(learner: Any, size: int) -> torch.Tensor:
    """The noise that the next update will draw first; the generator is as before."""
    before = learner.generator.get_state()
    noise = torch.randn(size, learner.policy.actions.width, generator=learner.generator)
    learner.generator.set_state(before)
    return noise


# ------------------------------------------------------------------------------------------------------ the formulas


@pytest.mark.parametrize("name", ["dqn", "ddpg", "td3", "sac"])
def test_layers_begin_uniform_as_pytorchs_own_where_that_is_asked_for(name):
    mine = learner(name, {"hidden": [256, 128], "initialisation": "uniform"})
    networks = [(mine.policy.trunk, 1.0)]
    # A policy's last layer is small: the first actions hardly depend on what is observed.
    networks += [(mine.policy.head, 1.0)] if name == "dqn" else [(mine.policy.head, 0.01)]
    networks += [(head, 1.0) for head in mine.critic.heads] if name != "dqn" else []
    for net, gain in networks:
        for weight, bias in net.layers:
            limit = gain * weight.shape[1] ** -0.5
            for numbers in (weight.detach(), bias.detach()):
                assert 0.0 < float(numbers.abs().max()) <= limit
            if weight.numel() > 1_000:
                assert float(weight.detach().std()) == pytest.approx(limit / 3.0**0.5, rel=0.1)


@pytest.mark.parametrize("double", [True, False])
def test_dqn_target_values_what_the_right_network_chose(double):
    dqn = apart(learner("dqn", double=double, learning_rate=0.01, tau=0.01))
    batch = batch_for(dqn, 500)
    with torch.no_grad():
        learned, lagging = dqn.policy(batch.next_observation), dqn.target.net(batch.next_observation)
        assert (learned.argmax(1) != lagging.argmax(1)).any()
        chosen = (learned if double else lagging).argmax(1)
        wanted = batch.reward + batch.discount * lagging[torch.arange(500), chosen]
        error = dqn.policy(batch.observation)[torch.arange(500), batch.action[:, 0]] - wanted
    metrics = dqn.update(batch)
    torch.testing.assert_close(metrics["priority"], error.abs())
    huber = torch.where(error.abs() < 1.0, 0.5 * error**2, error.abs() - 0.5)
    torch.testing.assert_close(metrics["train/loss"], (batch.weight * huber).mean())


def ddpg_wanted(ddpg: Any, batch: Batch) -> torch.Tensor:
    """Their equation 5, by the networks that lag."""
    action = torch.tanh(ddpg.policy_target.net(batch.next_observation))
    return batch.reward + batch.discount * ddpg.critic_target.net(batch.next_observation, action)[0]


def td3_wanted(td3: Any, batch: Batch) -> torch.Tensor:
    """Equations 10 and 14. Noise is in parts of an action's half range: 0.1 in one dimension here, 25 in the other."""
    noise = (own_noise(td3, len(batch.reward)) * 0.4).clamp(-0.3, 0.3)
    action = (torch.tanh(td3.policy_target.net(batch.next_observation)) + noise).clamp(-1.0, 1.0)
    twins = td3.critic_target.net(batch.next_observation, action)
    assert (twins[0] < twins[1]).any()
    assert (twins[1] < twins[0]).any()
    return batch.reward + batch.discount * torch.minimum(twins[0], twins[1])


def squashed(sac: Any, observation: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy's action for this noise, and its log-probability."""
    mean, log_std = sac.policy(observation).chunk(2, -1)
    drawn = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform(cache_size=1)
    )
    action = torch.tanh(mean + log_std.exp() * noise)
    return action, drawn.log_prob(action).sum(-1)


def sac_wanted(sac: Any, batch: Batch) -> torch.Tensor:
    action, log_prob = squashed(sac, batch.next_observation, own_noise(sac, len(batch.reward)))
    twins = sac.critic_target.net(batch.next_observation, action)
    temperature = float(sac.log_temperature.detach().exp())
    return batch.reward + batch.discount * (twins.min(0).values - temperature * log_prob)


WANTED = {"ddpg": ddpg_wanted, "td3": td3_wanted, "sac": sac_wanted}
SETTINGS: dict[str, dict[str, Any]] = {"ddpg": {}, "sac": {}, "td3": {"target_noise": 0.4, "target_noise_clip": 0.3}}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_critics_loss_is_that_of_the_paper(name, shared):
    one = apart(learner(name, {"shared": shared}, learning_rate=0.01, tau=0.01, **SETTINGS[name]))
    batch = batch_for(one, 500)
    with torch.no_grad():
        error = one.critic(batch.observation, batch.action) - WANTED[name](one, batch)
    metrics = one.update(batch)
    torch.testing.assert_close(metrics["priority"], error.abs().amax(0), atol=1e-4, rtol=1e-4)
    loss = (batch.weight * error**2).mean(1).sum() * (0.5 if name == "sac" else 1.0)
    torch.testing.assert_close(metrics["train/critic_loss"], loss, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients_by_hand_are_those_of_the_papers_losses(name, shared, monkeypatch):
    """The losses as they stand, by autograd, against what the minimisers are given."""
    delay = {"policy_delay": 1} if name == "td3" else {}
    one = apart(learner(name, {"shared": shared}, learning_rate=0.01, **SETTINGS[name], **delay))
    batch, given = batch_for(one, 200), {}
    minimisers = {part: getattr(one, f"{part}_minimiser") for part in ("critic", "policy")}
    for part, minimiser in minimisers.items():
        minimiser.learning_rate = 0.0  # so that the policy meets the critic as it was

        def record(part=part, minimiser=minimiser, descend=minimiser.descend):
            given[part] = minimiser.gradient.clone()
            return descend()

        monkeypatch.setattr(minimiser, "descend", record)

    with torch.no_grad():
        wanted = WANTED[name](one, batch)
        noises = []
        if name == "sac":  # the second draw is the policy's
            before = one.generator.get_state()
            noises = [torch.randn(200, one.policy.actions.width, generator=one.generator) for _ in range(2)]
            one.generator.set_state(before)
    error = one.critic(batch.observation, batch.action) - wanted
    losses = {"critic": (batch.weight * error**2).mean(1).sum() * (0.5 if name == "sac" else 1.0)}
    if name == "sac":
        action, log_prob = squashed(one, batch.observation, noises[1])
        value = one.critic(batch.observation, action).amin(0)
        losses["policy"] = (float(one.log_temperature.detach().exp()) * log_prob - value).mean()
    else:
        action = torch.tanh(one.policy(batch.observation))
        losses["policy"] = -one.critic(batch.observation, action)[0].mean()
    expected = {
        part: torch.cat([g.flatten() for g in torch.autograd.grad(losses[part], minimiser.parameters)])
        for part, minimiser in minimisers.items()
    }
    one.update(batch)
    for part, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            given[part], gradient, atol=1e-4 * scale, rtol=1e-3, msg=lambda m, p=part: f"{p}: {m}"
        )


def test_a_squashed_gaussians_clamped_deviation_gets_no_gradient():
    distribution = learner("sac").distribution
    outputs = torch.tensor([[0.3, -0.2, 5.0, -1.0], [0.1, 0.4, -30.0, 0.5]], requires_grad=True)
    noise, to_action = own_noise(learner("sac"), 2), torch.tensor([[0.5, -1.0], [2.0, 0.1]])
    action, log_prob = distribution.sample_with_log_prob(outputs, noise)
    (expected,) = torch.autograd.grad((to_action * action).sum() + 0.2 * log_prob.sum(), outputs)
    found = distribution.backward(outputs.detach(), noise, to_action, torch.tensor(0.2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found[0, 2] == found[1, 2] == 0.0


@pytest.mark.parametrize("name", ALL)
def test_a_sample_of_weight_zero_teaches_the_critic_nothing(name):
    """Weights are each sample's own: what a batch teaches is what its weighted rows alone would."""
    settings = {"policy_delay": 1_000} if name == "td3" else {}
    digests = []
    for other in (1, 2):
        one = learner(name, **settings)
        batch, different = batch_for(one), batch_for(one, seed=other)
        half = torch.arange(64) < 32
        changed = batch._replace(reward=torch.where(half, batch.reward, different.reward), weight=half.float())
        one.update(changed)
        digests.append(weights_digest(one.policy if name == "dqn" else one.critic))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_policy_climbs_its_critic(name):
    one = learner(name, learning_rate=1e-2, **({"temperature": 1e-6} if name == "sac" else {}))
    batch = batch_for(one, 200)

    def judged() -> float:
        with torch.no_grad():
            action = one.policy.distribution.mode(one.policy(batch.observation))
            values = one.critic(batch.observation, action)
            return float((values.amin(0) if name == "sac" else values[0]).mean())

    one.critic_minimiser.learning_rate = 0.0
    before = judged()
    for _ in range(20):
        one.update(batch)
    assert judged() > before + 0.02


def parameters(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weights.detach().flatten() for weights in net.parameters()])


@pytest.mark.parametrize("name", ALL)
def test_targets_follow_slowly_and_only_when_they_should(name):
    every = {"policy_delay": 3} if name == "td3" else {"target_every": 3}
    one = learner(name, tau=0.1, learning_rate=0.01, **every)
    targets = [part for part in vars(one).values() if type(part).__name__ == "Target"]
    assert len(targets) == {"dqn": 1, "ddpg": 2, "td3": 2, "sac": 1}[name]
    for update in range(1, 7):
        before = [parameters(target.net).clone() for target in targets]
        one.update(batch_for(one, seed=update))
        for target, old in zip(targets, before, strict=True):
            wanted = old if update % 3 else 0.9 * old + 0.1 * parameters(target.source)
            torch.testing.assert_close(parameters(target.net), wanted, atol=1e-6, rtol=1e-5)
            if update >= 3:  # TD3's policy has not moved before
                assert not torch.equal(parameters(target.net), parameters(target.source))


def test_td3_moves_its_policy_every_second_update_only():
    td3 = learner("td3")
    digests = [weights_digest(td3.policy)]
    for update in range(4):
        td3.update(batch_for(td3, seed=update))
        digests.append(weights_digest(td3.policy))
    assert [a != b for a, b in itertools.pairwise(digests)] == [False, True, False, True]


def test_dueling_streams_are_a_value_and_advantages_around_it():
    dqn = learner("dqn", dueling=True)
    features = torch.randn(10, 16)
    both = dqn.policy.head.streams(features)
    torch.testing.assert_close(dqn.policy.head(features).mean(1), both[:, 0])
    assert dqn.policy.head(features).shape == (10, 5)


# --------------------------------------------------------------------------------------------------- densities of SAC


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-2.0, 0.5), (0.0, 1.5)])
def test_the_density_of_a_squashed_action_integrates_to_one(mean, log_std):
    distribution = learner("sac").policy.distribution
    noise = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)[:, None].expand(-1, 2)
    outputs = torch.tensor([mean, mean, log_std, log_std], dtype=torch.float64).expand(len(noise), 4)
    action, log_prob = distribution.sample_with_log_prob(outputs, noise)
    # Both dimensions are alike, so the joint density is the square of one's.
    density = (0.5 * log_prob).exp()
    assert float(torch.trapezoid(density, action[:, 0])) == pytest.approx(1.0, abs=1e-3)


def test_log_probability_stays_finite_where_tanh_saturates():
    distribution = learner("sac").policy.distribution
    outputs = torch.tensor([[30.0, -30.0, 2.0, -20.0]], requires_grad=True)
    action, log_prob = distribution.sample_with_log_prob(outputs, torch.tensor([[3.0, -3.0]]))
    assert torch.isfinite(log_prob).all()
    assert action.abs().max() <= 1.0
    assert torch.isfinite(torch.autograd.grad(log_prob.sum(), outputs)[0]).all()


def test_the_temperature_rises_while_there_is_too_little_entropy_and_falls_while_there_is_too_much():
    for target_entropy, sign in ((50.0, 1.0), (-50.0, -1.0)):
        sac = learner("sac", target_entropy=target_entropy, learning_rate=0.01)
        temperatures = [float(sac.update(batch_for(sac))["train/temperature"]) for _ in range(5)]
        assert all(sign * (b - a) > 0.0 for a, b in itertools.pairwise(temperatures))
    fixed = learner("sac", temperature=0.3, learning_rate=0.01)
    assert [float(fixed.update(batch_for(fixed))["train/temperature"]) for _ in range(3)] == pytest.approx([0.3] * 3)


def test_modified_sac_moves_the_policy_half_as_often_while_the_critics_are_wrong():
    moves = {}
    for wrong in (True, False):
        sac = learner("sac", modified=True)
        sac.mean_critic_loss = 30.0 if wrong else 0.0
        batch = batch_for(sac)._replace(reward=torch.full((64,), 30.0 if wrong else 0.0), discount=torch.zeros(64))
        for _ in range(40):
            sac.update(batch)
        moves[wrong] = sac.policy_updates
    assert moves == {True: 20, False: 40}


# --------------------------------------------------------------------------------------------------------- they learn


class Forever(gymnasium.Env[Any, Any]):
    """Always looks the same and pays 1; every episode is one step, terminated or truncated."""

    def __init__(self, action_space: spaces.Space[Any], truncates: bool) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space, self.truncates = action_space, truncates

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.ones(1, np.float32), 1.0, not self.truncates, self.truncates, {}


FAST = {"learning_starts": 50, "batch_size": 32, "learning_rate": 5e-3, "tau": 0.05}
MODES = {"same": AutoresetMode.SAME_STEP, "next": AutoresetMode.NEXT_STEP}


@pytest.mark.parametrize(
    ("name", "mode", "n_step"),
    [("dqn", "same", 1), ("dqn", "next", 3), *[(name, "same", 1) for name in CONTINUOUS]],
)
def test_an_endless_task_is_worth_1_over_1_minus_gamma_and_one_that_ends_is_worth_1(tmp_path, name, mode, n_step):
    space = spaces.Discrete(2) if name == "dqn" else spaces.Box(-1.0, 1.0, (1,), np.float32)
    extra = {"temperature": 1e-6} if name == "sac" else {}
    for truncates, worth, steps in ((True, 4.0, 250), (False, 1.0, 150)):
        envs = SyncVectorEnv([lambda: Forever(space, truncates)] * 2, autoreset_mode=MODES[mode])  # noqa: B023
        settings = {**FAST, **extra, "learning_rate": 0.01, "tau": 0.2, "gamma": 0.75, "n_step": n_step}
        one = trained(tmp_path, envs, {"hidden": [16]}, name=name, total_steps=steps, **settings).learner
        with torch.no_grad():
            observation = torch.ones(1, 1)
            value = one.policy(observation) if name == "dqn" else one.critic(observation, torch.zeros(1, 1))
        assert value.flatten().tolist() == pytest.approx([worth] * value.numel(), rel=0.1)


class Chain(gymnasium.Env[Any, Any]):
    """Five places in a row, numbered from 3; actions are -1 and 0: back to the first place, or one further.

    Staying at the last pays 1, going back 0.1: greed for the next reward never gets there.
    """

    observation_space = spaces.Discrete(5, start=3)
    action_space = spaces.Discrete(2, start=-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        return 3, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.steps += 1
        reward = 0.1 if action == -1 else float(self.place == 4)
        self.place = 0 if action == -1 else min(self.place + 1, 4)
        return 3 + self.place, reward, False, self.steps >= 12, {}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"double": False, "n_step": 3, "replay": "recent", "recent": 500, "exploration": "gaussian_epsilon"},
        {"dueling": True, "n_step": 2, "replay": "prioritised"},
    ],
    ids=["double", "n-step", "d3qn"],
)
def test_dqn_finds_the_end_of_a_chain(tmp_path, flags):
    envs = SyncVectorEnv([Chain] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    settings = {**FAST, "gamma": 0.9, "total_steps": 700, "epsilon_fraction": 0.7, "updates_per_step": 0.5, **flags}
    policy = trained(tmp_path, envs, {"hidden": [32]}, name="dqn", **settings).learner.policy
    assert [int(policy.act(place, deterministic=True)) for place in range(3, 8)] == [0] * 5


@pytest.mark.parametrize(("name", "shared"), [*[(name, False) for name in CONTINUOUS], ("td3", True)])
def test_a_bandit_is_solved_in_the_actions_own_units(tmp_path, name, shared):
    envs = SyncVectorEnv([Bandit] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    network = {"hidden": [32, 32], "shared": shared}
    settings = {**FAST, "gamma": 0.0, "total_steps": 400, "learning_starts": 100}
    extra = {"initial_temperature": 0.01} if name == "sac" else {}
    policy = trained(tmp_path, envs, network, name=name, **settings, **extra).learner.policy
    # Wanted: 10 + 12 x on a space of -10..30.
    for x in (-0.8, 0.0, 0.8):
        action = policy.act(np.array([x], np.float32), deterministic=True)
        assert action[0] == pytest.approx(10.0 + 12.0 * x, abs=3.0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_same_task_in_other_units_of_action_trains_the_same_weights(tmp_path, name):
    """A unit 4 times as large: a power of two, so that not even rounding differs."""
    digests = set()
    for half in (1.0, 4.0):
        envs = SyncVectorEnv([lambda: Bandit(-half, half)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)  # noqa: B023
        settings = {**FAST, "total_steps": 80, "learning_starts": 20}
        one = trained(tmp_path, envs, {"hidden": [8]}, name=name, **settings).learner
        digests.add((weights_digest(one.policy), weights_digest(one.critic)))
    assert len(digests) == 1
