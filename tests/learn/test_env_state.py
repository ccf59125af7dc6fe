"""Environments are brought back to where they were, or it is said that they cannot be."""

import random
import re
from collections import deque

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward

from rlbridge.learn.checkpoint import load_checkpoint, save_checkpoint
from rlbridge.learn.env_state import capture, restore, why_not

SAME = AutoresetMode.SAME_STEP


class Plant(gymnasium.Env):
    """State of every kind that can be written down; some of it is only there after a reset."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.delay = deque([0.0, 0.0], maxlen=2)
        self.old, self.older = np.random.RandomState(1), random.Random(2)
        self.table = {(0, 1): [1, 2.5], "x": {"y": None}}
        self.grid = np.asfortranarray(np.zeros((3, 2), np.float32))
        self.gain = np.float32(1.5)
        self.law = lambda x: x * 2

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.made_in_reset = 0
        self.state = self.np_random.normal(size=3)
        return self.state.copy(), {}

    def step(self, action):
        self.made_in_reset += 1
        self.delay.append(float(action))
        self.grid[self.made_in_reset % 3] += self.gain
        self.table[0, 1].append(self.old.normal() + self.older.random())
        self.state = self.state + self.np_random.normal(size=3) + self.delay[0] + self.table[0, 1][-1]
        self.state[0] += self.law(self.grid.sum()) + self.observation_space.sample()[0] * 1e-3
        over = bool(self.np_random.random() < 0.1)
        return self.state.copy(), float(self.state.sum()), over, False, {}


def wrapped():
    return TransformReward(RecordEpisodeStatistics(Plant()), lambda reward: 3.0 * reward)


def batch(make, count=3, mode=SAME):
    return SyncVectorEnv([make] * count, autoreset_mode=mode)


def played(envs, actions):
    return [[np.asarray(part).tolist() for part in envs.step(action)[:4]] for action in actions]


@pytest.mark.parametrize(
    "make",
    [Plant, lambda: TransformReward(Plant(), lambda reward: 3.0 * reward)]
    + [
        lambda name=name: gymnasium.make(name) for name in ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v1")
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 40])
def test_a_restored_environment_goes_on_as_the_first_does(make, steps, tmp_path):
    first, second, untouched = batch(make), batch(make), batch(make)
    first.action_space.seed(3)
    actions = [first.action_space.sample() for _ in range(steps + 60)]
    for envs in (first, untouched):
        envs.reset(seed=1)
        for env in envs.envs:
            env.unwrapped.observation_space.seed(5)
        played(envs, actions[:steps])
    state = load_checkpoint(save_checkpoint(tmp_path / "s", {"envs": capture(first)}))["envs"]
    second.reset(seed=99)
    assert restore(second, state)
    expected = played(untouched, actions[steps:])
    assert played(first, actions[steps:]) == expected  # capturing disturbs nothing
    assert played(second, actions[steps:]) == expected


def test_wrappers_that_keep_statistics_come_along():
    first, second = batch(wrapped), batch(wrapped)
    for envs in (first, second):
        envs.reset(seed=0)
        played(envs, [[1, 2, 0]] * 25)
    second.reset(seed=7)
    assert restore(second, capture(first))
    assert [list(env.env.return_queue) for env in second.envs] == [list(env.env.return_queue) for env in first.envs]
    assert isinstance(second.envs[0].env.return_queue, deque)


class With(Plant):
    """A plant with one more attribute."""

    def __init__(self, name, value):
        super().__init__()
        setattr(self, name, value)


class Slots:
    __slots__ = ("x",)


class Hidden(Slots, Plant):
    pass


def shared():
    env = Plant()
    env.a = np.zeros(4)
    env.b = env.a[2:]
    return env


def same_list():
    env = Plant()
    env.a = env.b = []
    return env


def closed_over():
    env, memory = Plant(), []
    env.law = lambda x: memory.append(x) or x
    return env


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: With("world", object()), r"With\.world .* builtins\.object"),
        (lambda: With("names", {"a", "b"}), r"With\.names .* builtins\.set"),
        (lambda: With("things", [1, [object()]]), r"With\.things"),
        (lambda: With("objects", np.array([None, 1], dtype=object)), r"With\.objects"),
        (lambda: With("long", list(range(10_000))), "more than 5,000 values"),
        (lambda: With("pick", random.Random(0).random), r"With\.pick"),
        (shared, r"Plant\.[ab] shares its memory"),
        (same_list, r"Plant\.b is shared"),
        (closed_over, r"Plant\.law"),
        (Hidden, "outside its attributes"),
    ],
)
def test_what_could_be_state_and_cannot_be_written_down(make, why):
    envs = batch(make, 1)
    envs.reset(seed=0)
    assert capture(envs) is None
    assert re.search(why, why_not(envs)), why_not(envs)


def test_one_list_in_itself_ends():
    loop = []
    loop.append(loop)
    envs = batch(lambda: With("loop", loop), 1)
    assert capture(envs) is None


def test_box2d_cannot_be_restored():
    pytest.importorskip("Box2D")
    envs = batch(lambda: gymnasium.make("LunarLander-v3"), 1)
    envs.reset(seed=0)
    assert capture(envs) is None
    assert "b2World" in why_not(envs)


def test_only_this_process_and_same_step():
    assert capture(batch(Plant, 1, AutoresetMode.NEXT_STEP)) is None
    apart = AsyncVectorEnv([Plant], autoreset_mode=SAME, context="fork")
    try:
        assert capture(apart) is None
    finally:
        apart.close()


def test_other_environments_are_not_restored():
    state = capture(batch(Plant, 2))
    other, fewer = batch(wrapped, 2), batch(Plant, 1)
    assert not restore(other, state)
    assert not restore(fewer, state)


@pytest.mark.parametrize(
    "node",
    [{"pickle": "x"}, [1], {}, {"generator": {"dict": [["bit_generator", "exec"]]}}, {"scalar": 1, "dtype": "O8"}],
)
def test_a_forged_state_is_refused(node):
    envs = batch(Plant, 1)
    envs.reset(seed=0)
    state = capture(envs)
    state[0][0]["data"]["made_in_reset"] = node
    with pytest.raises((ValueError, KeyError, TypeError, StopIteration, AttributeError)):
        restore(envs, state)
