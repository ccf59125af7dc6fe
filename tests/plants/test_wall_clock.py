"""A plant on the wall clock: its own thread reads it, acts when nobody else does, and answers to an operator."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from rlbridge.plants import Clock, DeadMan, Gate, Interlock, PlantEnv, PlantLost, PlantRefused, Reason, Signal, Task
from rlbridge.plants.clock import PlantTimeout
from rlbridge.plants.operator import OperatorFile, OperatorRefused
from rlbridge.plants.replay import verify
from tests.conftest import ROOT
from tests.plants.tanks import SIGNALS, LiveTank, Tank

SAFE = {"valve": 0.0, "pump": -1.0}
FAST = Clock(period=0.02)
NEVER = DeadMan(hold=3600.0, ramp=0.0)  # closing trips at once
MIDDLE = np.array([0.5, 0.5], np.float32)


@pytest.fixture
def live(tmp_path):
    """Make environments of live tanks; they are closed in the end."""
    made = []

    def make(plant=None, clock=FAST, task=None, **gate):
        plant = plant or LiveTank()
        signals = gate.pop("signals", None)
        gate.setdefault("dead_man", NEVER)
        made.append(PlantEnv(plant, gate=Gate(**gate), task=task, clock=clock, folder=tmp_path, signals=signals))
        return made[-1], plant

    yield make
    for env in made:
        env.close()


def until(condition, seconds=20.0):
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.005)


def acts(tmp_path):
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == "act"]


def test_a_step_takes_its_place_in_time_and_says_how_it_went(live, tmp_path):
    env, plant = live()
    env.reset()
    for _ in range(5):
        _, _, _, truncated, info = env.step(MIDDLE)
        assert not truncated
        assert {"jitter", "observation_age", "deadline_misses"} <= info.keys()
        assert info["observation_age"] >= 0
    assert {"valve": 0.5, "pump": 0.5} in plant.written
    env.close()
    assert verify(tmp_path / "audit.jsonl").decisions > 5


def test_who_stops_acting_is_held_then_ramped_then_tripped(live, tmp_path):
    env, plant = live(dead_man=DeadMan(hold=0.5, ramp=0.3))
    env.reset()
    env.step(MIDDLE)
    until(lambda: plant.written[-1] == SAFE)
    until(lambda: acts(tmp_path)[-1]["why"]["valve"] == ["trip"])
    stages = [record["why"]["valve"][-1] if "why" in record else "act" for record in acts(tmp_path)]
    began = stages.index("act")  # a slow machine may have held before
    stages = stages[began:]
    assert sorted(set(stages), key=stages.index) == ["act", "hold", "ramp", "trip"]
    assert stages == sorted(stages, key=["act", "hold", "ramp", "trip"].index)
    valves = [record["applied"]["valve"] for record in acts(tmp_path)[began:]]
    ramp = [valve for valve, stage in zip(valves, stages, strict=False) if stage == "ramp"]
    steps = -np.diff([0.5, *ramp])
    assert (steps <= 0.25 * FAST.period * (1 + 1e-9)).all()  # the ramp keeps to the rate; the trip does not
    # A trip lasts: an action is not obeyed any more, and the episode is over.
    _, _, _, truncated, info = env.step(MIDDLE)
    assert truncated
    assert info["why"]["pump"] == ["trip"]
    env.reset()
    assert env.step(MIDDLE)[3] is False


def test_a_missed_period_may_be_enough_to_go_safe(live):
    env, plant = live(clock=Clock(period=0.02, on_miss="safe"), dead_man=DeadMan(hold=3600.0, ramp=0.05))
    env.reset()
    until(lambda: plant.written and plant.written[-1] == SAFE)


def test_an_episode_that_is_over_for_good_does_not_wait_for_the_dead_man(live):
    env, plant = live(task=Task(terminated="level > 4"), dead_man=DeadMan(hold=3600.0, ramp=0.05))
    env.reset()
    assert env.step(MIDDLE)[2]
    until(lambda: plant.written[-1] == SAFE)
    env.reset()
    assert env.step(MIDDLE)[-1]["applied"][1] == 0.5


def test_an_action_that_answers_an_old_observation_is_refused(live):
    env, plant = live(max_age=1e-6)
    env.reset()
    info = env.step(MIDDLE)[-1]
    assert info["reasons"][0] & Reason.REFUSED
    assert {"valve": 0.5, "pump": 0.5} not in plant.written


def test_the_heartbeat_toggles_as_long_as_somebody_is_there(live):
    signals = [*SIGNALS, Signal("alive", "heartbeat", 0, 1)]
    env, plant = live(signals=signals)
    env.reset()
    until(lambda: sum("alive" in commands for commands in plant.written) > 5)
    beats = [commands["alive"] for commands in plant.written if "alive" in commands]
    assert all(a != b for a, b in itertools.pairwise(beats))
    env.close()
    watching, plant = live(signals=signals, mode="shadow")
    watching.reset()
    for _ in range(3):
        watching.step(MIDDLE)
    watching.close()
    assert plant.written == []


def test_an_interlock_does_not_wait_for_the_next_action(live):
    env, plant = live(interlocks=(Interlock(when="level > 8", then={"pump": -2.0}),))
    env.reset()
    write, at_deadlines = plant.write, []

    def too_much(commands):
        write(commands)
        plant.level = 9.0 if commands["pump"] == 0.5 else plant.level

    plant.write = too_much  # what is applied is what brings it about
    env.controlled.guard.beat = lambda: at_deadlines.extend(plant.written[-1:])  # the last thing of every period
    env.step(MIDDLE)
    assert {"valve": 0.5, "pump": 0.5} in plant.written
    assert at_deadlines[-1] == {"valve": 0.5, "pump": -2.0}
    assert {"valve": 0.5, "pump": 0.5} not in at_deadlines


def test_a_plant_that_hangs_is_given_up_within_its_time(live):
    env, plant = live(clock=Clock(period=0.02, patience=1.0))
    env.reset()
    hangs, go_on = threading.Event(), threading.Event()
    read = plant.read
    plant.read = lambda: (hangs.set(), go_on.wait(30), read())[2]
    assert hangs.wait(30)
    with pytest.raises(PlantTimeout, match=r"did not answer 'act' within 1\.04 s"):
        env.step(MIDDLE)
    plant.read = read
    go_on.set()
    env.step(-MIDDLE)
    assert {"valve": 0.5, "pump": 0.5} not in plant.written  # nobody expected it any more


def test_a_plant_that_fails_is_made_safe_and_the_client_is_told(live):
    env, plant = live()
    env.reset()

    def broken():
        raise OSError("the bus is gone")

    read, plant.read = plant.read, broken
    with pytest.raises(OSError, match="the bus is gone"):  # noqa: PT012
        for _ in range(3):
            env.step(MIDDLE)
    assert plant.written[-1] == SAFE
    plant.read = read
    env.reset()
    env.step(MIDDLE)


def test_a_write_that_fails_is_told_at_once(live, tmp_path):
    env, plant = live()
    env.reset()
    write, failures = plant.write, iter([OSError("the output card is broken")])

    def broken(commands):
        for error in failures:
            raise error
        write(commands)

    plant.write = broken
    with pytest.raises(OSError, match="the output card is broken"):
        env.step(MIDDLE)
    assert plant.written[-1] == SAFE
    env.close()
    assert '"write_failed":"OSError: the output card is broken"' in (tmp_path / "audit.jsonl").read_text()
    verify(tmp_path / "audit.jsonl")


def test_an_audit_that_cannot_be_written_ends_the_session_with_the_plant_safe(live):
    env, plant = live()
    env.reset()

    def full(record):
        raise OSError(28, "No space left on device")

    log = env.controlled.guard.journal._log
    log.append = full
    with pytest.raises(OSError, match="No space left on device"):
        env.step(MIDDLE)
    assert plant.written[-1] == SAFE
    del log.append


def test_a_plant_that_does_not_start_again_is_left_safe(live):
    env, plant = live()
    env.reset()
    env.step(MIDDLE)
    plant.bad = frozenset({"level"})
    with pytest.raises(PlantRefused, match="level cannot be read"):
        env.reset()
    assert plant.written[-1] == SAFE


def test_a_lost_connection_is_ridden_out_as_long_as_readings_may_be_held(live):
    signals = [Signal("level", "observation", 0.0, 10.0, hold=3600.0), *SIGNALS[1:]]
    env, plant = live(signals=signals)
    env.reset()

    def lost():
        raise PlantLost("no answer")

    read, plant.read = plant.read, lost
    for _ in range(3):
        observation, _, _, truncated, info = env.step(MIDDLE)
    assert (observation[0], truncated, info["bad"]) == (5.0, False, ["level"])
    plant.read = read
    env.step(MIDDLE)
    assert "bad" not in env.step(MIDDLE)[-1]


def test_a_clock_of_the_plant_that_stands_still_makes_all_readings_bad(live):
    env, plant = live(frozen_after=0.5)
    env.reset()
    plant.time = 1.0
    end = time.monotonic() + 20
    while not env.step(MIDDLE)[3]:
        assert time.monotonic() < end
    assert plant.written[-1] == SAFE


# ------------------------------------------------------------------------------------------------------ the operator


@pytest.fixture
def desk(tmp_path):
    desk = OperatorFile(tmp_path / "operator.jsonl")
    desk.create()
    return desk


def token(desk):
    return desk.token_path.read_text().strip()


def test_an_emergency_stop_is_at_once_latched_and_cleared_only_with_the_token(live, desk, tmp_path):
    env, plant = live(operator="operator.jsonl", safe_action={"valve": 1.0})
    env.reset()
    env.step(MIDDLE)
    desk.command("estop", "anna", token=None)
    until(lambda: plant.written[-1] == {"valve": 1.0, "pump": -1.0})  # 0.5 away at once: no rate
    assert env.step(MIDDLE)[3]
    for _ in range(2):
        with pytest.raises(PlantRefused, match="e-stop by anna"):
            env.reset()
    with pytest.raises(OperatorRefused, match="'clear' needs the operator's token"):
        desk.command("clear", "mallory", token="0" * 64)
    with pytest.raises(PlantRefused):
        env.reset()
    env.close()
    again, _ = live(operator="operator.jsonl")  # it outlives the process
    with pytest.raises(PlantRefused, match="e-stop by anna"):
        again.reset()
    desk.command("clear", "anna", token(desk))
    again.reset()
    assert not again.step(MIDDLE)[3]
    again.close()
    verify(tmp_path / "audit.jsonl")


def test_lines_that_no_operator_signed_are_not_obeyed(live, desk, tmp_path):
    env, plant = live(operator="operator.jsonl", mode="shadow")
    env.reset()
    desk.command("mode", "anna", token(desk), mode="observe")
    signed = desk.path.read_bytes()
    with desk.path.open("ab") as file:
        file.write(signed)  # repeated
        file.write(signed.replace(b"observe", b"active"))  # altered
        file.write(b'{"command":"mode","mode":"active"}\nnot even JSON\n')
    for _ in range(3):
        env.step(MIDDLE)
    assert plant.written == []
    assert desk.standing().mode == "observe"
    assert desk.standing().refused == 4


def test_an_operator_switches_modes_and_the_gate_takes_over_from_where_the_plant_is(live, desk):
    env, plant = live(operator="operator.jsonl", mode="shadow")
    env.reset()
    plant.points = {"valve": 0.1, "pump": 1.0}  # the plant's own controller
    env.step(MIDDLE)
    assert plant.written == []
    desk.command("mode", "anna", token(desk), mode="active")
    until(lambda: env.step(np.array([1.0, 1.0], np.float32)) is not None and plant.written)
    assert plant.written[0]["valve"] <= 0.1 + 0.25 * FAST.period + 1e-9
    desk.command("mode", "anna", token(desk), mode="observe")
    env.step(MIDDLE)
    env.step(MIDDLE)
    count = len(plant.written)
    env.step(MIDDLE)
    assert len(plant.written) == count


def test_advice_is_applied_when_a_person_confirms_it(live, desk, tmp_path):
    env, plant = live(operator="operator.jsonl", mode="advise")
    env.reset()
    env.step(np.array([0.5, 1.5], np.float32))
    env.step(np.array([0.5, 0.7], np.float32))
    assert plant.written == []
    advice = next(record for record in acts(tmp_path) if record["requested"]["pump"] == 1.5)
    desk.command("confirm", "anna", token(desk), advice=advice["n"])
    until(lambda: plant.written)  # it needs no further action
    assert plant.written == [{"valve": 0.5, "pump": 1.5}]
    env.step(np.array([0.5, -0.3], np.float32))
    assert len(plant.written) == 1  # once
    env.close()
    verify(tmp_path / "audit.jsonl")


def test_a_latched_interlock_outlives_the_session_and_is_cleared_by_an_operator(live, desk, tmp_path):
    locks = (Interlock(when="level > 8", then={"pump": -2.0}, latch=True),)
    env, plant = live(operator="operator.jsonl", interlocks=locks)
    env.reset()
    plant.level = 9.0
    until(lambda: plant.written and plant.written[-1]["pump"] == -2.0)
    env.close()
    again, plant = live(operator="operator.jsonl", interlocks=locks)
    again.reset()
    assert plant.level == 5.0
    assert again.step(MIDDLE)[-1]["why"]["pump"] == ["interlock"]
    desk.command("clear", "anna", token(desk))
    until(lambda: again.step(MIDDLE)[-1]["applied"][1] == 0.5)
    again.close()
    verify(tmp_path / "audit.jsonl")


def test_without_the_operators_file_the_plant_does_not_run(live, desk):
    env, plant = live(operator="operator.jsonl")
    env.reset()
    desk.path.unlink()
    until(lambda: plant.written and plant.written[-1] == SAFE)
    with pytest.raises(PlantRefused, match="operator's file cannot be read"):
        env.reset()


def test_a_program_that_ends_without_closing_leaves_the_plant_safe(tmp_path):
    program = """
import numpy
from rlbridge.plants import Clock, DeadMan, Gate, PlantEnv
from tests.conftest import ROOT
from tests.plants.tanks import LiveTank
plant = LiveTank()
plant.close = lambda: print(plant.written[-1])
env = PlantEnv(plant, gate=Gate(dead_man=DeadMan(ramp=0)), clock=Clock(period=0.02))
env.reset()
env.step(numpy.array([0.5, 0.5]))
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(SAFE), done.stderr


def test_a_simulator_can_rehearse_being_live(live):
    env, plant = live(Tank(), clock=Clock(period=0.02, real_time=True))
    observation, _ = env.reset()
    env.step(MIDDLE)
    until(lambda: plant.level > observation[0] + 0.001)  # nobody advances it
    level = plant.level
    observation, info = env.reset()  # taken over as it runs
    assert observation[0] >= np.float32(level)
    assert info["applied"].tolist() == [0.5, 0.5]
