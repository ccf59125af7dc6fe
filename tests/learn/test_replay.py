"""The replay memory, against a list of all that happened and returns by their definition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import Counter, collector_for, learner_for

from rlbridge.config import ConfigError, DQNConfig
from rlbridge.learn.priorities import Priorities
from rlbridge.learn.replay import Replay
from rlbridge.learn.transition import Step

GO, TERMINATED, TRUNCATED, BOTH, INVALID = range(5)


def replay_of(num_envs: int = 1, shape: tuple[int, ...] = (1,), seed: int = 0, **config: Any) -> Replay:
    return Replay(DQNConfig(**config), num_envs, shape, np.dtype(np.float32), 1, np.int64, seed)


@dataclass
class Life:
    """One transition as it was, by name: observations are numbers that never come twice."""

    observation: int
    reward: float
    next_observation: int
    terminated: bool
    followed: bool
    """Whether the next in the list goes on from this one."""


@dataclass
class Reference:
    """All that ever happened, in lists; an environment each."""

    lives: list[list[Life]] = field(default_factory=list)

    def held(self, capacity: int) -> list[tuple[list[Life], int]]:
        return [(ring, j) for ring in self.lives for j in range(max(len(ring) - capacity, 0), len(ring))]

    @staticmethod
    def n_step(ring: list[Life], j: int, n: int, gamma: float) -> tuple[float, float, int]:
        """(reward, discount, next observation): the definition, one transition at a time."""
        total = 0.0
        for k in range(n):
            life = ring[j + k]
            total += gamma**k * life.reward
            if life.terminated or not life.followed or j + k + 1 == len(ring):
                break
        return total, (0.0 if life.terminated else gamma ** (k + 1)), life.next_observation


def live(replay: Replay, outcomes: list[list[int]], same_step: bool) -> Reference:
    """Feed ``outcomes`` ``[T][N]`` to the memory as a collector would, and write them down."""
    n = replay.num_envs
    reference = Reference([[] for _ in range(n)])
    names = iter(range(1, 10**6))
    now = np.array([next(names) for _ in range(n)])
    resetting = np.zeros(n, bool)
    for tokens in outcomes:
        token = np.where(resetting, INVALID, tokens)
        valid = token != INVALID
        terminated, truncated = np.isin(token, (TERMINATED, BOTH)), np.isin(token, (TRUNCATED, BOTH))
        reached = np.array([next(names) for _ in range(n)])
        shown, final = reached.copy(), {}
        for i in np.flatnonzero(terminated | truncated):
            if same_step:
                shown[i], final[int(i)] = next(names), np.array([reached[i]], np.float32)
        resetting = (terminated | truncated) & (not same_step)
        reward = np.where(valid, reached % 7 - 3.0, 0.0).astype(np.float32)
        step = Step(shown[:, None].astype(np.float32), reward, terminated, truncated, valid, final)
        replay.add(now[:, None].astype(np.float32), now[:, None], step)
        for i, ring in enumerate(reference.lives):
            if valid[i]:
                ended = bool(terminated[i] or truncated[i])
                ring.append(Life(int(now[i]), float(reward[i]), int(reached[i]), bool(terminated[i]), not ended))
            elif ring:
                ring[-1].followed = False
        now = shown
    return reference


@st.composite
def histories(draw: Any) -> dict[str, Any]:
    num_envs, n_step = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    tokens = st.sampled_from([GO, GO, GO, GO, TERMINATED, TRUNCATED, BOTH, INVALID])
    return {
        "num_envs": num_envs,
        "n_step": n_step,
        "capacity": draw(st.integers(n_step, 7)),
        "gamma": draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
        "kind": draw(st.sampled_from(["uniform", "prioritised"])),
        "same_step": draw(st.booleans()),
        "outcomes": draw(st.lists(st.lists(tokens, min_size=num_envs, max_size=num_envs), min_size=1, max_size=25)),
    }


def history(outcomes: list[list[int]], **more: Any) -> dict[str, Any]:
    base = {"num_envs": 1, "n_step": 3, "capacity": 5, "gamma": 0.9, "kind": "uniform", "same_step": True}
    return {**base, "outcomes": outcomes, **more}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(histories())
@example(history([[GO]] * 8))  # around the ring
@example(history([[GO], [TERMINATED], [GO], [GO]]))
@example(history([[GO], [TRUNCATED], [GO], [GO]]))
@example(history([[GO], [TRUNCATED], [GO], [GO], [GO]], same_step=False))
@example(history([[GO], [GO], [INVALID], [GO], [GO]]))
@example(history([[INVALID], [INVALID], [GO]], kind="prioritised"))
def test_what_is_drawn_is_what_happened(history):
    n, n_step, capacity = history["num_envs"], history["n_step"], history["capacity"]
    replay = replay_of(
        n, replay_size=capacity * n + n - 1, n_step=n_step, gamma=history["gamma"], replay=history["kind"]
    )
    reference = live(replay, history["outcomes"], history["same_step"])
    held = reference.held(capacity)
    assert len(replay) == len(held)
    if not held:
        with pytest.raises(ValueError, match="empty"):
            replay.sample(1)
        return
    wanted = {ring[j].observation: reference.n_step(ring, j, n_step, history["gamma"]) for ring, j in held}
    batch = replay.sample(1_000)
    drawn = batch.observation[:, 0].int().tolist()
    assert set(drawn) == set(wanted)  # all of them, and nothing else
    assert batch.action[:, 0].tolist() == drawn
    reward, discount, reached = np.array([wanted[name] for name in drawn]).T
    np.testing.assert_allclose(batch.reward.numpy(), reward, atol=1e-4)
    np.testing.assert_allclose(batch.discount.numpy(), discount, atol=1e-6)
    assert batch.next_observation[:, 0].tolist() == reached.tolist()
    assert (batch.weight == 1.0).all()  # all priorities are alike so far


def test_truncated_bootstraps_from_the_final_observation_and_terminated_does_not():
    for token, discount in ((TRUNCATED, 0.9), (TERMINATED, 0.0), (BOTH, 0.0)):
        replay = replay_of(gamma=0.9)
        live(replay, [[token]], same_step=True)
        batch = replay.sample(1)
        assert batch.discount.tolist() == pytest.approx([discount])
        assert batch.next_observation[0, 0] == 2.0  # the observation after it, 3, is another episode's


@pytest.mark.parametrize("n_step", [1, 3])
def test_both_autoreset_modes_fill_the_memory_alike(n_step):
    drawn = []
    for mode, steps in ((AutoresetMode.SAME_STEP, 9), (AutoresetMode.NEXT_STEP, 11)):
        envs = SyncVectorEnv([lambda: Counter(3)], autoreset_mode=mode)
        learner = learner_for(envs, name="dqn")
        collector, replay = collector_for(envs, learner.policy), replay_of(1, (2,), n_step=n_step)
        observation = collector.reset()
        for _ in range(steps):
            step = collector.step(np.zeros(1, np.int64))
            replay.add(observation, np.zeros((1, 1), np.int64), step)
            observation = step.observation
        assert len(replay) == 9
        batch = replay.sample(64)
        drawn.append([column.tolist() for column in batch[:-1]])
    assert drawn[0] == drawn[1]
    assert [0.0, 3.0] in drawn[0][4]  # where the first episode ended, not where the next began


def test_recent_draws_from_the_latest_only():
    replay = replay_of(2, replay="recent", recent=6, replay_size=100)
    reference = live(replay, [[GO, GO]] * 20 + [[GO, INVALID]] * 5, same_step=True)
    drawn = set(replay.sample(1_000).observation[:, 0].int().tolist())
    assert drawn == {life.observation for ring in reference.lives for life in ring[-3:]}


def test_uniform_is_uniform_over_rings_of_different_fill():
    replay = replay_of(2, replay_size=100)
    live(replay, [[GO, INVALID]] * 30 + [[GO, GO]] * 10, same_step=True)
    counts = np.unique(replay.sample(50_000).rows, return_counts=True)[1]
    assert len(counts) == 50
    assert counts.min() > 850  # 1000 each, give or take five deviations
    assert counts.max() < 1_150


def prioritised(errors: list[float], **config: Any) -> tuple[Replay, np.ndarray[Any, Any]]:
    """A memory with one transition for each error, and the probabilities that they should be drawn with."""
    replay = replay_of(replay="prioritised", **config)
    live(replay, [[GO]] * len(errors), same_step=True)
    replay.update_priorities(np.arange(len(errors)), np.array(errors, np.float32))
    priority = np.array(errors) ** replay.config.priority_exponent
    return replay, priority / priority.sum()


def test_prioritised_draws_in_proportion_and_weighs_each_sample_for_it():
    replay, chance = prioritised([0.1, 1.0, 4.0, 0.5], priority_exponent=0.5, priority_correction=0.4)
    for progress, beta in ((0.0, 0.4), (0.5, 0.7), (1.0, 1.0)):
        batch = replay.sample(10_000, progress)
        assert np.bincount(batch.rows) / 10_000 == pytest.approx(chance, abs=0.002)
        weight = (4 * chance) ** -beta
        assert batch.weight.numpy() == pytest.approx((weight / weight.max())[batch.rows], rel=1e-3)
    # What is over-represented by the drawing weighs as much less in the end: the mean is that of uniform draws.
    assert float((batch.weight * batch.observation[:, 0]).sum() / batch.weight.sum()) == pytest.approx(2.5, abs=0.05)


def test_a_new_transition_gets_the_largest_priority_there_ever_was():
    replay, _ = prioritised([0.1, 50.0, 0.1], priority_exponent=1.0, replay_size=100)
    replay.update_priorities(np.array([1]), np.array([0.1], np.float32))
    live(replay, [[GO]], same_step=True)
    assert np.bincount(replay.sample(10_000).rows)[3] / 10_000 == pytest.approx(50.0 / 50.3, abs=0.002)


def test_an_overwritten_transition_leaves_no_priority_behind():
    replay, _ = prioritised([0.1, 0.1, 100.0], priority_exponent=1.0, replay_size=3)
    live(replay, [[GO]] * 3, same_step=True)
    assert np.bincount(replay.sample(9_000).rows) / 9_000 == pytest.approx(np.full(3, 1 / 3), abs=0.01)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 9),
    st.floats(0.0, 1.0),
    st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.floats(0.0, 1e3, width=32)), min_size=1, max_size=30),
    st.integers(1, 50),
)
def test_the_sum_tree_is_an_array(size, alpha, changes, draws):
    tree, array, largest = Priorities(size, alpha), np.zeros(size), 1.0
    for new, row, error in changes:
        rows = np.unique([row % size, (row * 3 + 1) % size])
        if new:
            tree.add(rows)
            array[rows] = largest**alpha
        else:
            tree.update(rows, np.full(len(rows), error, np.float32))
            array[rows] = (error + 1e-6) ** alpha
            largest = max(largest, error + 1e-6)
    rows, chance = tree.sample(draws, np.random.default_rng(0))
    np.testing.assert_allclose(chance, array[rows] / array.sum(), rtol=1e-9)
    assert (array[rows] > 0.0).all()
    # The same draws, one from each equal part of the sum, by a walk along the array.
    wanted = (np.arange(draws) + np.random.default_rng(0).random(draws)) / draws * array.sum()
    upper = np.cumsum(array)[rows]
    slack = 1e-9 * array.sum()
    assert (wanted <= upper + slack).all()
    assert (wanted >= upper - array[rows] - slack).all()


def test_a_state_restores_the_memory_exactly():
    replay, _ = prioritised([0.1, 1.0, 4.0], n_step=2, replay_size=4)
    other = replay_of(replay="prioritised", n_step=2, replay_size=4, seed=9)
    other.load_state_dict(replay.state_dict())
    for memory in (replay, other):
        live(memory, [[GO], [TERMINATED]], same_step=True)
    for ours, theirs in zip(replay.sample(50), other.sample(50), strict=True):
        assert ours.tolist() == theirs.tolist()


def test_a_memory_that_cannot_fit_is_refused_with_its_bytes():
    config = DQNConfig(replay_size=10**12)
    with pytest.raises(ConfigError, match=r"56,462,000,000,000,000 bytes \(56,462 .*replay_size to [\d,]+ or less"):
        Replay(config, 8, (84, 84, 4), np.dtype(np.uint8), 1, np.int64, 0)


@pytest.mark.parametrize("kind", ["uniform", "recent", "prioritised"])
@pytest.mark.parametrize("n_step", [1, 3])
def test_batches_drawn_together_are_those_drawn_one_by_one(kind, n_step):
    # Rows of 1 KiB: of 300 batches of 16 only some fit together, and the last part is smaller.
    memories = [replay_of(2, (256,), replay=kind, n_step=n_step, replay_size=100, recent=40) for _ in range(2)]
    for memory in memories:
        live(memory, [[GO, TERMINATED], [GO, INVALID], [TRUNCATED, GO]] * 10, same_step=True)
    together = list(memories[0].batches(300, 16, 0.5))
    assert len(together) == 300
    for batch in together:
        for ours, one in zip(batch, memories[1].sample(16, 0.5), strict=True):
            assert ours.tolist() == one.tolist()
