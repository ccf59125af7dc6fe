"""A guarded plant is an ordinary environment, alone and in batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlbridge.plants import (
    BadAction,
    BadPlant,
    Clock,
    Gate,
    Interlock,
    PlantEnv,
    PlantRefused,
    PlantVectorEnv,
    Reason,
    Signal,
    Task,
)
from rlbridge.plants.replay import verify
from tests.plants.tanks import SIGNALS, Tank, Tanks, reward

LEVEL = Interlock(when="level > 5.5", then={"pump": -2.0}, until="level < 5.2")


def act(valve: float, pump: float) -> np.ndarray:
    return np.array([valve, pump], np.float32)


@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")  # units are the point
def test_gymnasium_finds_nothing_wrong():
    check_env(PlantEnv(Tank(), task=Task(reward=reward)), skip_render_check=True)


def test_spaces_are_in_units_and_in_the_plants_order():
    env = PlantEnv(Tank(), task=Task(observe_applied=True))
    assert env.action_space.low.tolist() == [0.0, -2.0]
    assert env.observation_space.high.tolist() == [10.0, 1.0, 2.0]
    observation, _ = env.reset()
    assert observation.tolist() == [5.0, 0.5, 0.0]


def test_limits_and_rates_are_those_of_the_last_applied_action():
    plant = Tank()
    env = PlantEnv(plant, clock=Clock(period=2.0))
    env.reset()
    _, _, _, _, info = env.step(act(0.0, 5.0))
    assert plant.written == [{"valve": 0.0, "pump": 2.0}]
    assert info["why"] == {"pump": ["limit"]}
    env = PlantEnv(plant := Tank())
    env.reset()  # takes over from where the valve is, 0.5
    for expected in (0.75, 1.0, 1.0):
        _, _, _, _, info = env.step(act(1.0, 0.0))
        assert plant.written[-1]["valve"] == info["applied"][0] == expected
    assert info["reasons"].tolist() == [0, 0]
    assert "why" not in info


def test_rate_follows_a_set_point_that_somebody_else_moved():
    env = PlantEnv(plant := Tank())
    env.reset()
    env.step(act(0.5, 0.0))
    plant.points["valve"] = 0.1
    env.controlled.guard.read(0.0)
    info = env.step(act(1.0, 0.0))[-1]
    assert plant.written[-1]["valve"] == pytest.approx(0.35)
    assert info["why"]["valve"] == ["rate", "readback"]


def test_an_interlock_holds_until_its_end_and_then_lets_go():
    env = PlantEnv(plant := Tank(), gate=Gate(interlocks=(LEVEL,)))
    env.reset(options={"level": 5.45})
    pumps = []
    for _ in range(6):
        info = env.step(act(0.5, 1.0))[-1]
        pumps.append((round(plant.level, 3), info["applied"][1], int(info["reasons"][1])))
    engaged, free = int(Reason.INTERLOCK), 0
    assert pumps == [
        (5.6, 1.0, free),
        (5.45, -2.0, engaged),
        (5.3, -2.0, engaged),  # below `when`, not yet below `until`
        (5.15, -2.0, engaged),
        (5.3, 1.0, free),
        (5.45, 1.0, free),
    ]


def test_an_interlock_engages_where_its_condition_cannot_be_computed():
    gate = Gate(interlocks=(Interlock(when="log(level - 5) > 100", then="safe", until="log(level - 5) < 1"),))
    env = PlantEnv(Tank(), gate=gate)
    env.reset(options={"level": 4.0})
    assert env.step(act(0.5, 0.0))[-1]["applied"].tolist() == [0.0, -1.0]


def test_a_latch_stays_until_the_next_reset():
    latch = Interlock(when="level > 5.5", latch=True)
    env = PlantEnv(plant := Tank(), gate=Gate(interlocks=(latch,)))
    env.reset(options={"level": 6.0})
    for _ in range(20):
        info = env.step(act(0.5, 1.0))[-1]
    assert plant.level < 5
    assert info["why"] == {"valve": ["interlock"], "pump": ["interlock"]}
    env.reset()
    assert env.step(act(0.0, 1.0))[-1]["reasons"][1] == 0


@pytest.mark.parametrize(
    "wrong", [act(np.nan, 0), act(0, np.inf), [0.5], [[0.5, 0.5]], "abc", None, [0.1, 0.2, 0.3], {}], ids=str
)
def test_what_is_no_action_is_refused_and_nothing_is_applied(wrong):
    env = PlantEnv(plant := Tank())
    env.reset()
    with pytest.raises(BadAction, match="nothing was applied"):
        env.step(wrong)
    assert plant.written == []
    env.step(act(0.5, 0.0))  # and the episode goes on


@pytest.mark.parametrize("mode", ["observe", "shadow", "advise"])
def test_without_being_active_nothing_is_ever_written(mode):
    env = PlantEnv(plant := Tank(), gate=Gate(mode=mode, interlocks=(LEVEL,)))
    env.reset(options={"level": 6.0})
    for i in range(5):
        info = env.step(act(1.0, 2.0))[-1]
        assert info["applied"].tolist() == [0.5, 0.0]
        if mode == "shadow" and i == 0:
            assert info["decided"].tolist() == [0.75, -2.0]
        assert info["reasons"][0] & Reason.UNWRITTEN
    plant.points["valve"] = 0.505  # what stands in the plant, however little it moved
    env.step(act(1.0, 2.0))
    assert env.step(act(1.0, 2.0))[-1]["applied"][0] == 0.505
    plant.bad = frozenset({"level"})
    env.step(act(1.0, 2.0))
    env.close()
    assert plant.written == []
    assert plant.closed == 1


def test_closing_leaves_the_safe_action():
    env = PlantEnv(plant := Tank())
    env.reset()
    env.step(act(1.0, 2.0))
    env.close()
    env.close()
    assert plant.written[-1] == {"valve": 0.0, "pump": -1.0}


def test_an_environment_that_was_never_reset_touches_nothing():
    env = PlantEnv(plant := Tank())
    env.close()
    assert (plant.started, plant.written) == (0, [])


def test_a_bad_reading_is_held_for_a_while_and_then_the_plant_goes_safe():
    signals = [Signal("level", "observation", 0.0, 10.0, hold=2.0), *SIGNALS[1:]]
    env = PlantEnv(plant := Tank(), signals=signals)
    env.reset()
    observation, *_ = env.step(act(0.5, 0.5))
    last = observation[0]
    plant.shown = {"level": float("nan")}
    for _ in range(2):
        observation, _, _, truncated, info = env.step(act(0.5, 0.5))
        assert (observation[0], truncated, info["bad"]) == (last, False, ["level"])
    observation, _, _, truncated, _ = env.step(act(0.5, 0.5))
    assert truncated
    assert observation[0] == last
    assert plant.written[-1] == {"valve": 0.0, "pump": -1.0}
    with pytest.raises(PlantRefused, match="level cannot be read"):
        env.reset()


def test_interlocks_see_what_is_out_of_range_while_the_last_good_value_is_shown(tmp_path):
    signals = [Signal("level", "observation", 0.0, 10.0, hold=9.0), *SIGNALS[1:]]
    env = PlantEnv(plant := Tank(), signals=signals, gate=Gate(interlocks=(LEVEL,), audit="a.jsonl"), folder=tmp_path)
    env.reset()
    pumps = []
    # Overflowing; nothing more from there; a good one, between the two ends; a broken one far below; a good one below.
    for shown in (30.0, float("nan"), 5.3, -99.0, 5.1):
        plant.shown = {"level": shown}
        env.step(act(0.5, 1.0))  # acts on the reading before, and reads this one
        observation, *_, info = env.step(act(0.5, 1.0))
        assert 5.0 <= observation[0] <= 5.3 + 1e-6
        pumps.append(float(info["applied"][1]))
    assert pumps == [-2.0, -2.0, -2.0, -2.0, 1.0]
    env.close()
    assert verify(tmp_path / "a.jsonl").decisions > 0


def test_an_interlock_is_not_released_by_a_sensor_that_breaks():
    signals = [Signal("level", "observation", 0.0, 10.0, hold=9.0), *SIGNALS[1:]]
    env = PlantEnv(plant := Tank(), signals=signals, gate=Gate(interlocks=(LEVEL,)))
    env.reset(options={"level": 6.0})
    assert env.step(act(0.5, 1.0))[-1]["applied"][1] == -2.0
    plant.shown = {"level": -99.0}
    for _ in range(3):
        assert env.step(act(0.5, 1.0))[-1]["applied"][1] == -2.0
    plant.shown = {"level": 5.1}
    env.step(act(0.5, 1.0))
    assert env.step(act(0.5, 1.0))[-1]["applied"][1] == 1.0


def test_a_set_point_outside_its_limits_is_not_taken_over():
    env = PlantEnv(plant := Tank())
    with pytest.raises(PlantRefused, match=r"pump stands at 3 , outside its limits \[-2, 2\]"):
        env.reset(options={"pump": 3.0})
    assert plant.written == []


def test_reward_termination_horizon_and_penalty():
    gate = Gate(penalty=2.0)
    env = PlantEnv(Tank(), gate=gate, task=Task(reward="level - 5 + 0 * valve", terminated="level > 5.12", horizon=3))
    env.reset()
    _, plain, terminated, truncated, _ = env.step(act(0.5, 0.0))
    assert plain == pytest.approx(0.05)
    assert (terminated, truncated) == (False, False)
    _, corrected, _, _, _ = env.step(act(1.0, -0.25))  # a quarter of the valve's range is taken off
    assert corrected == pytest.approx(0.1 - 2.0 * 0.25 / 2)
    assert env.step(act(1.0, -1.0))[2:4] == (False, True)
    env.reset(options={"level": 5.1})
    assert env.step(act(0.5, 0.0))[2:4] == (True, False)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"gate": Gate(safe_action={"valve": 2.0})}, r"valve = 2  is outside \[0, 1\]"),
        ({"gate": Gate(safe_action={"valv": 0.0})}, "did you mean 'valve'"),
        ({"gate": Gate(interlocks=(Interlock(when="levle > 1"),))}, "did you mean 'level'"),
        ({"gate": Gate(interlocks=(Interlock(when="level > 1", then={"level": 1.0}),))}, "is no action"),
        ({"task": Task(reward="level.real")}, "is not allowed"),
        ({"task": Task(reward="__import__('os')")}, "no function '__import__'"),
        ({"task": Task(reward="sqrt(level, valve)")}, "takes 1 argument"),
        ({"signals": [Signal("a b", "action", 0, 1), SIGNALS[0]]}, "a name is letters"),
        ({"signals": [SIGNALS[0]]}, "no signal of role 'action'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_together_is_said_before_anything_runs(sections, message):
    with pytest.raises(ValueError, match=message):
        PlantEnv(Tank(), **sections)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task(reward=lambda transition: np.zeros((3, 1))), r"reward has the shape \(3, 3\); a number or \[3\]"),
        (Task(terminated=lambda transition: np.zeros((2, 3), bool)), "termination has the shape"),
        (Task(reward="1 / (level - level)"), "reward is inf"),
    ],
    ids=["column", "table", "infinite"],
)
def test_a_task_that_gives_what_cannot_be_learned_from_is_told_so(task, message):
    envs = PlantVectorEnv(Tanks(3), task=task)
    envs.reset(seed=0)
    with pytest.raises(BadPlant, match=message):
        envs.step(np.zeros((3, 2), np.float32))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_batch_does_what_its_rows_would_do_alone(mode):
    sections = {"gate": Gate(interlocks=(LEVEL,), penalty=0.1), "task": Task(reward=reward, terminated="level > 7")}
    envs = PlantVectorEnv(Tanks(3), autoreset_mode=mode, **sections)
    alone = [PlantEnv(Tanks(1), **sections) for _ in range(3)]
    together, _ = envs.reset(seed=7)
    single = [env.reset(seed=7 + i)[0] for i, env in enumerate(alone)]
    generator = np.random.default_rng(0)
    for _ in range(30):
        assert (together == np.stack(single)).all()
        actions = generator.uniform(-3, 3, (3, 2)).astype(np.float32)
        together, rewards, *_, infos = envs.step(actions)
        steps = [env.step(action) for env, action in zip(alone, actions, strict=True)]
        single = [step[0] for step in steps]
        assert rewards.tolist() == [step[1] for step in steps]
        assert (infos["applied"] == np.stack([step[-1]["applied"] for step in steps])).all()
        assert (infos["reasons"] == np.stack([step[-1]["reasons"] for step in steps])).all()


def test_rows_end_and_begin_again_by_themselves():
    task = Task(terminated="level > 6.5", horizon=40)
    up = np.tile(act(1.0, 2.0), (4, 1))
    same = PlantVectorEnv(Tanks(4), task=task, autoreset_mode="SameStep")
    after = PlantVectorEnv(Tanks(4), task=task)
    for envs in (same, after):
        envs.reset(seed=1)
    for _ in range(12):
        observation, _, ended, _, infos = same.step(up)
        if ended.any():
            rows = np.flatnonzero(ended)
            assert all(infos["final_obs"][row][0] > 6.5 for row in rows)
            assert (observation[rows, 0] <= 6).all()
            break
    else:
        pytest.fail("no row ended")
    for _ in range(12):
        observation, _, ended, _, _ = after.step(up)
        if ended.any():
            fresh = np.flatnonzero(ended)
            break
    assert (observation[fresh, 0] > 6.5).all()
    observation, rewards, ended, truncated, _ = after.step(up)
    assert (observation[fresh, 0] <= 6).all()
    assert not (ended | truncated)[fresh].any()
    assert (rewards[fresh] == 0).all()


def test_a_row_whose_reading_is_bad_ends_alone():
    plant = Tanks(3)
    envs = PlantVectorEnv(plant, autoreset_mode="SameStep")
    envs.reset(seed=0)
    read, broken = plant.read, np.array([False, True, False])

    def partly():
        reading = read()
        return dataclasses.replace(
            reading, values={**reading.values, "level": np.where(broken, np.nan, reading.values["level"])}
        )

    plant.read = partly
    with pytest.raises(PlantRefused, match="level cannot be read"):  # the row cannot begin anew either
        envs.step(np.zeros((3, 2), np.float32))
    envs = PlantVectorEnv(plant, autoreset_mode="Disabled")
    plant.read = read
    envs.reset(seed=0)
    plant.read = partly
    _, _, terminated, truncated, infos = envs.step(np.tile(act(0.5, 0.5), (3, 1)))
    assert truncated.tolist() == infos["held"].tolist() == broken.tolist()
    assert not terminated.any()
    assert plant.points["pump"].tolist() == [0.5, -1.0, 0.5]  # that row is safe, the others go on
    observations, _ = envs.reset(options={"reset_mask": ~broken})  # the others may begin anew meanwhile
    assert np.isfinite(observations).all()


def test_one_plant_is_no_batch():
    with pytest.raises(BadPlant, match="is no batch"):
        PlantVectorEnv(Tank())
    with pytest.raises(BadPlant, match="use PlantVectorEnv"):
        PlantEnv(Tanks(2))
