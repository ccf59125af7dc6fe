"""Image observations: nothing is asked for, convolutions see them, and bytes stay bytes until they do."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from scripted import collector_for, learner_for
from torch import nn

from rlbridge.client import make_vec
from rlbridge.config import NetworkConfig, NetworkShape, PPOConfig
from rlbridge.learn import Policy, evaluate, load_run, train, weights_digest
from rlbridge.learn.conv import Convolutions
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import MLP, Target
from rlbridge.learn.replay import Replay

HERE = Path(__file__).parent
SMALL = {"hidden": [16]}
OFF_POLICY = {"total_steps": 40, "learning_starts": 16, "batch_size": 8, "updates_per_step": 0.25}
ON_POLICY = {"total_steps": 64, "rollout_steps": 8, "minibatch_size": 16, "epochs": 2}
ALGORITHMS = {
    "ppo": ("Lamp", ON_POLICY),
    "dqn": ("Lamp", {**OFF_POLICY, "dueling": True, "n_step": 3, "replay": "prioritised"}),
    "ddpg": ("continuous", OFF_POLICY),
    "td3": ("continuous", OFF_POLICY),
    "sac": ("continuous", OFF_POLICY),
}


def convolutions(shape, hidden=(), outputs=3, white=255.0):
    return Convolutions(shape, white, hidden, outputs, "tanh", 1.0, Initialiser(0))


def pictures(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def lamps(num_envs=4, name="Lamp", **kwargs):
    return make_vec(f"{HERE}/pictures.py:{name}", num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs)


def run_of(tmp_path, name, run="r", target=None, seed=0, network=None):
    factory, settings = ALGORITHMS[name]
    return train(
        {
            "env": {"target": target or f"{HERE}/pictures.py:{factory}", "num_envs": 4},
            "algorithm": {"name": name, **settings},
            "network": {**SMALL, **(network or {})},
            "evaluation": {"every": 0},
            "run": {"name": run, "dir": str(tmp_path), "seed": seed, "tensorboard": False},
        },
        progress=False,
    )


def learn(learner, envs):
    """A few transitions, then two updates (TD3 moves its policy every other time) on them."""
    policy, collector = learner.policy, collector_for(envs, learner.policy)
    if learner.config.name == "ppo":
        rollout = learner.rollout(envs.num_envs)
        collector.collect(rollout)
        assert rollout.observation.dtype == torch.uint8
        learner.update(rollout, 0.0)
        return
    shapes = policy.encoder.shape, policy.encoder.dtype, policy.actions.width, policy.actions.dtype
    memory = Replay(learner.config, envs.num_envs, *shapes, seed=0)
    observation = collector.reset()
    for _ in range(4):
        action = policy.actions.random(envs.num_envs, np.random.default_rng(0))
        step = collector.step(policy.actions.to_environment(action))
        memory.add(observation, action, step)
        observation = step.observation
    assert memory.observation.dtype == memory.next_observation.dtype == np.uint8
    for _ in range(2):
        learner.update(memory.sample(8))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((12, 20), 1),
        ((12, 20, 1), 1),
        ((12, 20, 3), 3),
        ((4, 12, 20), 4),
        ((84, 84, 4), 4),
        ((16, 84, 84), 16),
        ((12, 12, 12), 12),
        ((9, 12, 9), 9),  # of two alike, the last is the channels
    ],
)
def test_the_shorter_outer_axis_is_the_channels(shape, channels):
    network = convolutions(shape)
    assert network.layers[0][1].shape[1] == channels
    assert network(pictures(5, *shape)).shape == (5, 3)


@pytest.mark.parametrize("side", [12, 84])
def test_a_picture_gives_the_same_bits_however_its_axes_come(side):
    last, first = convolutions((side, side, 4), [8]), convolutions((4, side, side), [8])
    seen = pictures(6, side, side, 4)
    assert torch.equal(last(seen), first(seen.permute(0, 3, 1, 2)))
    assert torch.equal(convolutions((side, side))(seen[..., 0]), convolutions((side, side, 1))(seen[..., :1]))


@pytest.mark.parametrize(("shape", "features"), [((84, 84, 4), 3136), ((36, 40, 3), 64), ((35, 60, 3), 8640)])
def test_the_layers_are_those_of_the_paper_or_smaller_ones(shape, features):
    """What is exposed for the export is the whole network: rebuilt from it with other code, it says the same."""
    network = convolutions(shape, [7])
    assert network.mlp.weight0.shape == (7, features)
    layers: list[nn.Module] = []
    for kernels, weight, bias in network.layers:
        layer = nn.Conv2d(weight.shape[1], *kernels[:2], stride=kernels.stride, padding=kernels.padding)
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, nn.ReLU()]
    seen = pictures(2, *shape)
    rows = nn.Sequential(*layers)(seen.float().permute(network.order) / 255.0).flatten(1)
    torch.testing.assert_close(network(seen), network.mlp(rows))


def test_the_brightest_pixel_that_there_can_be_is_one():
    bits = spaces.Box(0, 1, (10, 10, 4), np.uint8)
    policies = [
        Policy(PPOConfig(), NetworkConfig(), space, spaces.Discrete(2), Initialiser(0), 0)
        for space in (bits, spaces.Box(0, 255, (10, 10, 4), np.uint8))
    ]
    seen = pictures(3, 10, 10, 4) % 2
    assert torch.equal(policies[0](seen), policies[1](seen * 255))


def test_weights_are_orthogonal_drawn_from_the_generator_alone():
    before = torch.get_rng_state()
    network = convolutions((12, 12, 3))
    assert torch.equal(before, torch.get_rng_state())
    for _, weight, bias in network.layers:
        rows = weight.detach().flatten(1)
        small = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(small, 2.0 * torch.eye(len(small)), atol=1e-4, rtol=0.0)
        assert not bias.any()


def test_a_copy_is_another_network_and_a_target_follows():
    network = convolutions((12, 12), [8])
    target, twin = Target(network), copy.deepcopy(network)
    minimiser = Minimiser(network.parameters(), 0.01, 0.5)
    seen = pictures(4, 12, 12)
    before = network(seen).detach()
    minimiser.step(network(seen).square().mean())
    assert not torch.equal(network(seen), before)
    assert torch.equal(twin(seen), before)
    assert torch.equal(target.net(seen), before)
    target.track(1.0)
    torch.testing.assert_close(target.net(seen), network(seen))


def test_what_is_not_set_suits_images():
    image, rows = lamps(1), make_vec("CartPole-v1", 1)
    policy = learner_for(image).policy
    assert policy.network == NetworkShape([512], "relu", True)
    assert policy.normaliser is None  # pixels have their scale
    assert learner_for(image, name="dqn").policy.network == NetworkShape([512], "relu", True)
    assert learner_for(rows).policy.network == NetworkShape([64, 64], "tanh", False)
    assert learner_for(rows, name="dqn").policy.network == NetworkShape([256, 256], "relu", False)
    chosen = {"hidden": [8, 9], "activation": "elu", "shared": False}
    learner = learner_for(image, network=chosen)
    assert learner.policy.network._asdict() == chosen
    assert isinstance(learner.critic, Convolutions)
    assert isinstance(learner_for(image).critic, MLP)  # on the policy's convolutions


@pytest.mark.parametrize("name", ALGORITHMS)
def test_pixels_are_bytes_until_the_network_has_them(name):
    envs = lamps(name=ALGORITHMS[name][0])
    learner = learner_for(envs, network=SMALL, name=name, **ALGORITHMS[name][1])
    seen = []
    learner.policy.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    learn(learner, envs)
    assert len(seen) > 2
    assert set(seen) == {torch.uint8}


def test_act_takes_one_picture_or_many():
    policy = learner_for(lamps(shape=(12, 12, 3))).policy
    many = pictures(5, 12, 12, 3).numpy()
    actions = policy.act(many, deterministic=True)
    assert actions.shape == (5,)
    assert [policy.act(one, deterministic=True) for one in many] == actions.tolist()
    upside_down = many[0, ::-1]  # as renderers give them: a view that torch does not take
    assert policy.act(upside_down, deterministic=True) == policy.act(upside_down.copy(), deterministic=True)


def test_ppo_learns_what_only_a_picture_says():
    envs = lamps(8)
    settings = {"rollout_steps": 32, "minibatch_size": 64, "epochs": 4, "learning_rate": 0.002, "gamma": 0.0}
    learner = learner_for(envs, network=SMALL, **settings)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(8)
    for _ in range(4):
        collector.collect(rollout)
        learner.update(rollout, 0.0)
    assert evaluate(learner.policy, envs, 20, seed=1).return_mean > 9.0


def test_dqn_learns_what_only_a_picture_says(tmp_path):
    run = train(
        {
            "env": {"target": f"{HERE}/pictures.py:Lamp"},
            "algorithm": {
                **{"name": "dqn", "total_steps": 600, "learning_starts": 200, "batch_size": 32, "gamma": 0.0},
                "updates_per_step": 0.25,
            },
            "network": SMALL,
            "evaluation": {"every": 0},
            "run": {"dir": str(tmp_path), "tensorboard": False},
        },
        progress=False,
    )
    assert run.evaluate(20).return_mean > 9.0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_runs_on_images_and_the_seed_decides(name, tmp_path):
    """A run ends with an error where a loss is not finite."""
    digests = [weights_digest(run_of(tmp_path, name, str(i), seed=i // 2).policy) for i in range(3)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["ppo", "ddpg", "td3", "sac"])
def test_actor_and_critic_may_have_convolutions_each_of_their_own(name):
    envs = lamps(name=ALGORITHMS[name][0])
    learner = learner_for(envs, network={**SMALL, "shared": False}, name=name, **ALGORITHMS[name][1])
    before = weights_digest(learner.policy.trunk), weights_digest(learner.critic)
    learn(learner, envs)
    assert weights_digest(learner.policy.trunk) != before[0]
    assert weights_digest(learner.critic) != before[1]
    ours = {id(parameter) for parameter in learner.policy.parameters()}
    assert not ours & {id(parameter) for parameter in learner.critic.parameters()}


@pytest.mark.parametrize("name", ["ppo", "td3"])
def test_over_the_network_the_weights_are_the_same(name, serve, tmp_path):
    url = serve(f"{HERE}/pictures.py:{ALGORITHMS[name][0]}").urls[0]
    here, there = run_of(tmp_path, name, "here"), run_of(tmp_path, name, "there", target=url)
    assert weights_digest(here.policy) == weights_digest(there.policy)


@pytest.mark.parametrize("name", ["ppo", "dqn", "sac"])
def test_a_loaded_run_sees_as_the_trained_one(name, tmp_path):
    run = run_of(tmp_path, name)
    loaded = load_run(run.dir)
    assert weights_digest(loaded.policy) == weights_digest(run.policy)
    seen = pictures(20, 12, 12).numpy()
    assert np.array_equal(loaded.policy.act(seen), run.policy.act(seen))


@pytest.mark.parametrize("name", ["ddpg", "td3", "sac"])
@pytest.mark.parametrize("critic_learns", [True, False])
def test_a_shared_trunk_follows_the_critics_loss_alone(name, critic_learns):
    envs = lamps(name="continuous")
    learner = learner_for(envs, network=SMALL, name=name)
    (learner.policy_minimiser if critic_learns else learner.critic_minimiser).learning_rate = 0.0
    policy = learner.policy
    trunk, head = (weights_digest(part) for part in (policy.trunk, policy.head))
    learn(learner, envs)
    assert (weights_digest(policy.trunk) != trunk) == critic_learns
    assert (weights_digest(policy.head) != head) == (not critic_learns)
