"""Whole runs with a replay memory: what they count, what they keep, how they meet the bridge, and what stops them."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from loops import trained, trainer_for
from scripted import Counter, Disowning, Poisoned, Talker

import rlbridge
from rlbridge.config import ConfigError, load_config
from rlbridge.learn import NotFinite, UnsupportedSpace, load_run, weights_digest

SAME, NEXT = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP
ALL = ["dqn", "ddpg", "td3", "sac"]
SMALL = {"total_steps": 120, "learning_starts": 40, "batch_size": 16}


def space_for(name: str) -> spaces.Space[Any]:
    return spaces.Discrete(3, start=-1) if name == "dqn" else spaces.Box(-2.0, 2.0, (1,), np.float32)


def counters(name: str, n: int, mode: AutoresetMode = SAME, length: int = 5) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: Counter(length, action_space=space_for(name))] * n, autoreset_mode=mode)


def digests(trainer: Any) -> list[str]:
    return [weights_digest(part) for part in vars(trainer.learner).values() if isinstance(part, torch.nn.Module)]


# -------------------------------------------------------------------------------------------------- what is counted


@pytest.mark.parametrize("name", ["dqn", "td3"])
def test_the_number_of_environments_changes_neither_steps_nor_updates(tmp_path, name):
    for n in (1, 4):
        trainer = trained(tmp_path, counters(name, n), name=name, **SMALL)
        assert (trainer.steps, len(trainer.loop.replay), trainer.learner.updates) == (120, 120, 80)
        received = sum(len(env.unwrapped.received) for env in trainer.envs.envs)
        assert received == 120


@pytest.mark.parametrize(
    ("train_every", "per_step", "updates"), [(4, 1.0, 80), (16, 1.0, 80), (1, 0.25, 20), (8, 2.0, 160)]
)
def test_gradient_steps_are_per_transition_however_they_are_bundled(tmp_path, train_every, per_step, updates):
    settings = {**SMALL, "train_every": train_every, "updates_per_step": per_step}
    assert trained(tmp_path, counters("dqn", 2), name="dqn", **settings).learner.updates == updates


def test_only_transitions_count_where_a_reset_takes_a_step(tmp_path):
    trainer = trained(tmp_path, counters("dqn", 2, NEXT), name="dqn", **SMALL)
    assert trainer.steps == trainer.loop.replay.added.sum() == 120
    assert trainer.learner.updates == 80
    # Five steps of an episode, then one that resets it.
    assert [len(env.unwrapped.received) for env in trainer.envs.envs] == [60, 60]


@pytest.mark.parametrize("mode", [SAME, NEXT])
@pytest.mark.parametrize("settings", [{"name": "dqn", "replay": "prioritised", "n_step": 3}, {"name": "sac"}])
def test_what_the_bridge_disowns_is_neither_kept_nor_counted(tmp_path, mode, settings):
    envs = Disowning(counters(settings["name"], 2, mode, length=50), every=7)
    trainer = trained(tmp_path, envs, **settings, **SMALL)
    replay, collector = trainer.loop.replay, trainer.collector
    assert trainer.steps == collector.transitions == replay.added.sum()
    assert collector.dropped == envs.count // 7
    assert trainer.learner.updates == trainer.steps - 40
    rows = replay.sample(500)
    assert all(bool(torch.isfinite(column).all()) for column in rows[:-1])
    assert (rows.reward >= 1.0).all()  # a disowned row has none
    # In one step nobody can see an episode go on by more than its own steps.
    moved = rows.next_observation[:, 1] - rows.observation[:, 1]
    assert moved.min() >= 1.0
    assert moved.max() <= settings.get("n_step", 1)
    assert (rows.next_observation[:, 0] == rows.observation[:, 0]).all()


def test_one_environment_that_resets_in_a_step_of_its_own_and_prioritised_replay(tmp_path):
    """A step without a single transition."""
    assert trained(tmp_path, counters("dqn", 1, NEXT), name="dqn", replay="prioritised", **SMALL).steps == 120


# ----------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("name", ["dqn", "td3"])
def test_the_last_checkpoint_has_the_last_gradient_steps(tmp_path, name):
    trainer = trainer_for(tmp_path, counters(name, 2), name=name, train_every=8, **SMALL)
    trainer.config.checkpoint.every = 60
    trainer.run()
    assert trainer.learner.updates == 80
    loaded = load_run(trainer.folder.path)
    assert loaded.steps == 120
    assert weights_digest(loaded.policy) == weights_digest(trainer.learner.policy)


class Scrambler(Counter):
    """Seeds every global generator to its liking, at each step, as careless environments do."""

    def __init__(self, mood: int, action_space: spaces.Space[Any]) -> None:
        super().__init__(5, action_space=action_space)
        self.mood = mood

    def step(self, action: Any) -> Any:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(self.mood)
        return super().step(action)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "dqn", "replay": "prioritised", "exploration": "gaussian_epsilon", "epsilon_end": 0.5},
        {"name": "ddpg", "noise": "ornstein_uhlenbeck"},
        {"name": "td3"},
        {"name": "sac"},
        {"name": "ppo", "rollout_steps": 30, "minibatch_size": 16},
    ],
    ids=lambda settings: settings["name"],
)
def test_no_global_generator_has_a_say(tmp_path, settings):
    sizes = {"total_steps": 60} if settings["name"] == "ppo" else {**SMALL, "total_steps": 70}
    outcomes = []
    for mood in (1, 2):
        torch.manual_seed(mood + 10)
        np.random.seed(mood + 10)
        envs = SyncVectorEnv([lambda: Scrambler(mood, space_for(settings["name"]))] * 2, autoreset_mode=SAME)  # noqa: B023
        trainer = trained(tmp_path, envs, **settings, **sizes)
        outcomes.append((digests(trainer), [env.unwrapped.received for env in envs.envs]))
    assert outcomes[0] == outcomes[1]


def test_noise_begins_anew_after_the_step_that_resets(tmp_path):
    """NEXT_STEP: the action that is sent along with a reset is nobody's, and so is its noise."""
    envs = counters("ddpg", 1, NEXT, length=3)
    settings = {**SMALL, "learning_starts": 0, "noise": "ornstein_uhlenbeck", "noise_std": 0.01, "noise_theta": 0.0}
    trainer = trainer_for(tmp_path, envs, name="ddpg", **settings)
    walks, explorer = [], trainer.loop.explorer.after
    act = explorer.act

    def recorded(observation, steps, rows):
        walks.append((float(observation[0, 1]), bool(explorer.walk.any())))
        return act(observation, steps, rows)

    explorer.act = recorded
    trainer.run()
    assert len(walks) > 100
    assert {(step, walking) for step, walking in walks} == {(0, False), (1, True), (2, True), (3, False)}


# ------------------------------------------------------------------------------------------ how it meets the bridge


class Parts(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The same numbers, taken apart."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        box = spaces.Box(-1000.0, 1000.0, (1,), np.float32)
        self.observation_space = spaces.Dict({"a": box, "b": spaces.Tuple([box])})

    def observation(self, observation: Any) -> Any:
        return {"a": observation[:1], "b": (observation[1:],)}


@pytest.mark.parametrize("name", ["dqn", "sac"])
def test_observations_in_parts_train_the_same_weights(tmp_path, name):
    outcomes = []
    for wrap in (Parts, lambda env: env):
        envs = SyncVectorEnv([lambda: wrap(Counter(5, action_space=space_for(name)))] * 2, autoreset_mode=SAME)  # noqa: B023
        outcomes.append(digests(trained(tmp_path, envs, name=name, **SMALL)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("name", "target"), [("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")])
def test_over_grpc_the_weights_are_those_of_here(serve, tmp_path, name, target):
    outcomes = []
    for where in (target, serve(target).urls[0]):
        settings = {
            "env": {"target": where, "num_envs": 3},
            "algorithm": {"name": name, "total_steps": 150, "learning_starts": 60, "batch_size": 16},
            "network": {"hidden": [8]},
            "evaluation": {"every": 75, "episodes": 1},
            "run": {"dir": str(tmp_path), "tensorboard": False},
        }
        outcomes.append(weights_digest(rlbridge.train(settings, progress=False).policy))
    assert outcomes[0] == outcomes[1]


# ------------------------------------------------------------------------------------------------------ what stops it


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("name", ALL)
def test_nan_stops_the_run_and_what_was_sound_is_kept(tmp_path, name, what):
    def poisoned():
        env = Poisoned(35, what)
        env.action_space = space_for(name)
        return env

    envs = SyncVectorEnv([lambda: Counter(50, action_space=space_for(name)), poisoned], autoreset_mode=SAME)
    trainer = trainer_for(tmp_path, envs, name=name, **SMALL)
    trainer.config.checkpoint.every = 50
    with pytest.raises(NotFinite, match=rf"row 1 gave the {what} .* at step 70; .* 68 steps are done.*step_68"):
        trainer.run()
    assert trainer.steps == trainer.collector.transitions == trainer.loop.replay.added.sum() == 68
    loaded = load_run(trainer.folder.path)
    assert loaded.steps == 68
    assert np.isfinite(loaded.policy.act(np.zeros(2, np.float32), deterministic=True)).all()


@pytest.mark.parametrize("name", ALL)
def test_diverged_weights_send_nothing_and_are_not_saved(tmp_path, name):
    # The bandit's actions are checked by nobody but the bridge: it would take NaN.
    envs = counters(name, 2, length=50)
    trainer = trainer_for(tmp_path, envs, name=name, **{**SMALL, "total_steps": 2_000}, learning_rate=1e30)
    trainer.config.checkpoint.every = 10
    with pytest.raises(NotFinite, match=r"learning_rate.* steps are done\. Last checkpoint"):
        trainer.run()
    assert trainer.steps < 100
    sent = [action for env in envs.envs for action in env.unwrapped.received]
    assert np.isfinite(np.array(sent, dtype=np.float64)).all()
    kept = sorted(int(path.name[5:]) for path in trainer.folder.checkpoints.iterdir())
    assert kept
    for steps in kept:
        policy = load_run(trainer.folder.path, steps).policy
        assert all(bool(weights.isfinite().all()) for weights in policy.parameters())


class Untouched(Counter):
    """Must not be stepped, nor even reset."""

    def reset(self, **kwargs: Any) -> Any:
        raise AssertionError("reset, though nothing should have started")


UNBOUNDED = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, np.inf], np.float32))


@pytest.mark.parametrize(
    ("name", "space", "words"),
    [
        ("dqn", spaces.Box(-1.0, 1.0, (2,), np.float32), "dqn cannot drive Box.* ppo, ddpg, td3, sac"),
        ("dqn", spaces.MultiDiscrete([2, 2]), r"dqn cannot drive MultiDiscrete.* can: ppo \(algorithm.name=ppo\)"),
        *[(name, spaces.Discrete(2), f"{name} cannot drive Discrete.* ppo, dqn") for name in ("ddpg", "td3", "sac")],
        *[(name, UNBOUNDED, f"{name} acts between bounds, and dimension 1 .*ppo") for name in ("ddpg", "td3", "sac")],
        *[(name, spaces.Dict({"x": spaces.Discrete(2)}), "actions are a Dict space") for name in ("dqn", "sac")],
    ],
)
def test_actions_it_cannot_drive_are_refused_before_anything_starts(tmp_path, name, space, words):
    envs = SyncVectorEnv([lambda: Untouched(action_space=space)] * 2, autoreset_mode=SAME)
    with pytest.raises(UnsupportedSpace, match=words):
        trained(tmp_path, envs, name=name, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_box_is_a_box(tmp_path):
    class Torques(spaces.Box):
        pass

    space = Torques(-1.0, 1.0, (1,), np.float32)
    envs = SyncVectorEnv([lambda: Counter(5, action_space=space)], autoreset_mode=SAME)
    with pytest.raises(UnsupportedSpace, match="dqn cannot drive Torques"):
        trained(tmp_path, envs, name="dqn", **SMALL)


@pytest.mark.parametrize("name", ["dqn", "sac"])
@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Text(5), "Text space"),
        (spaces.Dict({"x": spaces.Sequence(spaces.Discrete(2))}), r"observation\['x'\] is a Sequence"),
        (spaces.Dict({"x": spaces.Box(0, 255, (64, 64, 3), np.uint8)}), "image .* among other parts"),
    ],
)
def test_observations_it_cannot_take_are_refused_with_the_reason(tmp_path, name, space, words):
    env = Talker()
    env.observation_space, env.action_space = space, space_for(name)
    with pytest.raises(UnsupportedSpace, match=words):
        trained(tmp_path, SyncVectorEnv([lambda: env], autoreset_mode=SAME), name=name, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_memory_larger_than_the_machines_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match=r"replay memory would take [\d,]+ bytes .*replay_size"):
        trained(tmp_path, counters("dqn", 2), name="dqn", replay_size=10**14, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_it_too(tmp_path):
    command = [sys.executable, "-m", "rlbridge", "train", "env.target=Pendulum-v1", "algorithm.name=dqn"]
    done = subprocess.run([*command, f"run.dir={tmp_path}"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rlbridge: dqn cannot drive Box actions")
    assert "ppo, ddpg, td3, sac" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["replay_size=100"], "replay_size = 100 is too small.*batch_size = 256"),
        (["replay_size=300", "n_step=100"], "replay_size = 300 .*n_step = 100 .*num_envs = 8 need 800"),
        (["learning_starts=5000", "total_steps=5000"], "nothing would be learned.*learning_starts = 5000"),
        (["train_every=5000", "total_steps=5000"], "nothing would be learned.*train_every = 5000"),
        (["replay=prioritised", "recent=500"], "recent = 500 has no effect .*prioritised, only with recent"),
        (["priority_exponent=0.9"], "priority_exponent = 0.9 has no effect .*uniform, only with prioritised"),
        (["epsilon_deviation=50"], "epsilon_deviation = 50.*less than or equal to 1"),
        (["batch_size=0"], "batch_size = 0"),
        (["updates_per_step=-1"], "updates_per_step = -1"),
        (["noise=gaussian"], "'algorithm.noise' = \"gaussian\"; it belongs to ddpg, td3"),
        (["policy_delay=2"], "'algorithm.policy_delay' = 2; it belongs to td3"),
        (["rollout_steps=2"], "'algorithm.rollout_steps' = 2; it belongs to ppo"),
        (["name=td3", "target_every=2"], "'algorithm.target_every' = 2; it belongs to dqn, ddpg, sac"),
        (["name=sac", "epsilon_end=0.1"], "'algorithm.epsilon_end' = 0.1; it belongs to dqn"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_make_no_sense_are_refused(overrides, words):
    with pytest.raises(ConfigError, match=words):
        load_config({"algorithm": {"name": "dqn"}}, [f"algorithm.{override}" for override in overrides])


def test_dqn_has_nothing_to_share_its_network_with():
    with pytest.raises(ConfigError, match=r"network\.shared = true: dqn has one network"):
        load_config({"algorithm": {"name": "dqn"}, "network": {"shared": True}})
    for name in ("ppo", "ddpg", "td3", "sac"):
        assert load_config({"algorithm": {"name": name}, "network": {"shared": True}}).network.shared
