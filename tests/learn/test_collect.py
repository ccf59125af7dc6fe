"""Autoreset, invalid rows and episode statistics, on environments whose every number is known."""

import numpy as np
import pytest
import scripted
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted import Counter, Disowning, Poisoned, collector_for

from rlbridge.play.actions import NotFinite

SAME, NEXT = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP


def learner_for(envs, **settings):
    small = {"rollout_steps": 7, "minibatch_size": 4, "epochs": 2, **settings}
    return scripted.learner_for(envs, network={"hidden": [8]}, **small)


def collected(envs, rollouts=1, **settings):
    learner = learner_for(envs, **settings)
    collector = collector_for(envs, learner.policy)
    rollout = learner.rollout(envs.num_envs)
    for _ in range(rollouts):
        collector.collect(rollout)
    return learner, collector, rollout


def test_same_step_keeps_the_observation_an_episode_ended_in():
    envs = SyncVectorEnv([lambda: Counter(3), lambda: Counter(4)], autoreset_mode=SAME)
    _, collector, rollout = collected(envs)
    # Row 0: steps 1 2 3 | 1 2 3 | 1, and the next observation after an end is the next episode's first.
    assert rollout.observation_np[:, 0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1]]
    assert {key: row.tolist() for key, row in rollout.final.items()} == {
        (2, 0): [0, 3],
        (5, 0): [1, 3],
        (3, 1): [0, 4],
    }
    assert rollout.valid.all()
    assert collector.transitions == 14


def test_next_step_row_after_an_end_is_no_transition():
    envs = SyncVectorEnv([lambda: Counter(3)], autoreset_mode=NEXT)
    _, collector, rollout = collected(envs)
    assert rollout.observation_np[:, 0].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1], [1, 2], [1, 3]]
    assert rollout.valid[:, 0].tolist() == [True, True, True, False, True, True, True]
    assert collector.transitions == 6
    assert [(e.total, e.length) for e in collector.take_episodes()] == [(6.0, 3), (6.0, 3)]
    # The end was the rollout's last row: the next one begins with the reset.
    collector.collect(rollout)
    assert rollout.valid[:, 0].tolist() == [False, True, True, True, False, True, True]


@pytest.mark.parametrize("truncates", [True, False])
def test_both_modes_give_the_learner_the_same_transitions(truncates):
    batches = []
    for mode, steps in ((SAME, 6), (NEXT, 7)):
        envs = SyncVectorEnv([lambda: Counter(3, truncates)], autoreset_mode=mode)
        learner, _, rollout = collected(
            envs, rollout_steps=steps, normalise_rewards=False, normalise_observations=False
        )
        rollout.action.zero_()
        batches.append(learner._prepare(rollout)[0])
    for same, following in zip(*batches, strict=True):
        torch.testing.assert_close(same, following)


def test_episode_statistics_span_rollouts():
    envs = SyncVectorEnv([lambda: Counter(10)] * 2, autoreset_mode=SAME)
    _, collector, _ = collected(envs, rollouts=2)
    assert collector.take_episodes() == [(20, 55.0, 10), (20, 55.0, 10)]
    assert collector.take_episodes() == []


def test_disowned_rows_are_dropped_and_counted():
    envs = Disowning(SyncVectorEnv([lambda: Counter(100)] * 2, autoreset_mode=SAME), every=3)
    learner, collector, rollout = collected(envs)
    assert rollout.valid[:, 0].tolist() == [True, True, False, True, True, False, True]
    assert rollout.valid[:, 1].all()
    assert (collector.dropped, collector.transitions) == (2, 12)
    assert collector.take_episodes() == []  # what the bridge cut short is no episode
    batch, _ = learner._prepare(rollout)
    assert len(batch.rows) == 12
    assert all(bool(torch.isfinite(column).all()) for column in batch)


def test_actions_are_stored_unclipped_and_sent_clipped():
    space = spaces.Box(np.array([-0.1, 0.0], np.float32), np.array([0.1, 50.0], np.float32))
    envs = SyncVectorEnv([lambda: Counter(5, action_space=space)] * 2, autoreset_mode=SAME)
    _, _, rollout = collected(envs, rollouts=4)
    sent = np.array(envs.envs[0].received)
    assert (sent >= space.low).all()
    assert (sent <= space.high).all()
    raw = rollout.action_np[:, 0]
    assert (np.abs(raw) > 1.0).any()
    # Each dimension by its own bounds: -1..1 is -0.1..0.1 in one, 0..50 in the other.
    wanted = np.clip(raw * [0.1, 25.0] + [0.0, 25.0], space.low, space.high)
    assert sent[-len(raw) :] == pytest.approx(wanted, abs=1e-5)


def test_discrete_actions_count_from_the_spaces_start():
    envs = SyncVectorEnv([lambda: Counter(5, action_space=spaces.Discrete(3, start=-1))], autoreset_mode=SAME)
    _, _, rollout = collected(envs, rollouts=5)
    assert set(np.unique(rollout.action_np)) <= {0, 1, 2}
    assert set(map(int, envs.envs[0].received)) == {-1, 0, 1}


@pytest.mark.parametrize(
    "space", [spaces.MultiDiscrete([2, 5], start=[3, -1]), spaces.MultiBinary(3), spaces.MultiBinary((2, 2))]
)
def test_several_choices_at_once(space):
    envs = SyncVectorEnv([lambda: Counter(5, action_space=space)] * 2, autoreset_mode=SAME)
    learner, _, rollout = collected(envs, rollouts=6)  # Counter itself asserts that each action is in the space
    assert len(np.unique(np.array(envs.envs[0].received), axis=0)) > 3
    assert all(np.isfinite(list(learner.update(rollout, 0.0).values())))


@pytest.mark.parametrize(("what", "value"), [("reward", "nan"), ("observation", "inf")])
@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_what_is_not_finite_stops_with_step_and_row(what, value, mode):
    envs = SyncVectorEnv([lambda: Counter(50), lambda: Poisoned(5, what)], autoreset_mode=mode)
    with pytest.raises(NotFinite, match=rf"row 1 gave the {what} .*{value}.* at step 10\b"):
        collected(envs)


def test_a_rollout_that_breaks_off_leaves_no_trace():
    envs = SyncVectorEnv([lambda: Counter(3)], autoreset_mode=SAME)
    learner = learner_for(envs)
    collector = collector_for(envs, learner.policy)
    before = learner.policy.generator.get_state()
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        collector.collect(learner.rollout(1), check)
    assert collector.transitions == 0
    assert torch.equal(before, learner.policy.generator.get_state())


def test_disabled_autoreset_is_refused():
    envs = SyncVectorEnv([lambda: Counter(3)], autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="SAME_STEP or NEXT_STEP"):
        collected(envs)
