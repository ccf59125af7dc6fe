"""Ways around the gate that a client, or its second session, might try on a live plant."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from pydantic import ValidationError

from rlbridge.plants import Clock, Gate, Interlock, PlantEnv, PlantRefused, Signal
from rlbridge.plants.audit import AuditBroken, AuditLog, digest, records
from rlbridge.plants.expression import Expression, ExpressionError
from rlbridge.plants.operator import OperatorFile
from rlbridge.plants.plant_file import PlantFile
from rlbridge.plants.replay import verify
from rlbridge.plants.rules import BadPlant
from tests.plants.tanks import LiveTank
from tests.plants.test_wall_clock import FAST, NEVER, until

MIDDLE = np.array([0.5, 0.5], np.float32)


class RunningTank(LiveTank):
    """A start leaves it as it runs, as a real plant does."""

    def start(self, seed, options):
        self.started += 1


@pytest.fixture
def live(tmp_path):
    made = []

    def make(plant, clock=FAST, **gate):
        made.append(PlantEnv(plant, gate=Gate(**{"dead_man": NEVER, **gate}), clock=clock, folder=tmp_path))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.mark.parametrize("end", [None, "level < 6"])
def test_interlocks_do_not_wait_for_a_client_that_only_resets(live, tmp_path, end):
    plant = RunningTank()
    env = live(plant, clock=Clock(period=3600), interlocks=(Interlock(when="level > 8", then={"pump": -2}, until=end),))
    env.reset()
    plant.level = 9.0
    assert plant.written == []
    env.reset()  # long before the period's end
    assert plant.written == [{"valve": 0.5, "pump": -2.0}]
    env.close()
    verify(tmp_path / "audit.jsonl")


def test_the_age_of_an_observation_counts_from_when_the_client_got_it(live, tmp_path):
    env = live(LiveTank(), max_age=0.3)
    env.reset()
    misses = env.step(MIDDLE)[-1]["deadline_misses"]
    watched = env.controlled.guard
    began = watched.seen
    seen = [began]

    def later():
        if watched.seen is not seen[-1]:
            seen.append(watched.seen)
        return watched.seen.time - began.time > 0.4  # the plant was read anew many times meanwhile

    until(later)
    info = env.step(MIDDLE)[-1]
    assert info["why"]["valve"] == ["hold", "refused"]
    assert info["deadline_misses"] > misses
    env.close()
    verify(tmp_path / "audit.jsonl")


@pytest.mark.parametrize("again", ["reset", "open"])
def test_no_reset_and_no_new_session_ends_an_interlock_before_its_time(live, tmp_path, again):
    plant = RunningTank()
    locks = (Interlock(when="level > 8", then={"pump": -2.0}, until="level < 6"),)
    env = live(plant, interlocks=locks)
    env.reset()
    plant.level = 9.0
    until(lambda: env.step(MIDDLE)[-1]["applied"][1] == -2.0)
    plant.level = 7.0
    assert env.step(MIDDLE)[-1]["applied"][1] == -2.0
    if again == "open":
        env.close()
        env = live(plant, interlocks=locks)
    env.reset()
    assert env.step(MIDDLE)[-1]["why"]["pump"] == ["interlock"]
    plant.level = 5.0
    until(lambda: env.step(MIDDLE)[-1]["applied"][1] == 0.5)
    env.close()
    verify(tmp_path / "audit.jsonl")


def test_a_confirmation_lets_no_later_advice_through(live, tmp_path):
    desk = OperatorFile(tmp_path / "operator.jsonl")
    desk.create()
    token = desk.token_path.read_text()
    plant = LiveTank()
    env = live(plant, operator="operator.jsonl", mode="advise")
    env.reset()
    number = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])["n"] + 4
    desk.command("confirm", "anna", token, advice=number)  # there is no such advice yet
    for _ in range(12):
        env.step(MIDDLE)
    advice = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert any(record["n"] == number and "would_apply" in record for record in advice)
    assert plant.written == []


def test_a_confirmation_is_good_for_the_audit_that_it_was_given_in(live, tmp_path):
    desk = OperatorFile(tmp_path / "operator.jsonl")
    desk.create()
    plant = LiveTank()
    env = live(plant, operator="operator.jsonl", mode="advise")
    env.reset()
    for _ in range(3):
        env.step(MIDDLE)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    number = [record["n"] for record in lines if record["event"] == "act" and "order" not in record][-1]
    desk.command("confirm", "anna", desk.token_path.read_text(), advice=number)
    until(lambda: plant.written)
    env.close()
    (tmp_path / "audit.jsonl").rename(tmp_path / "old.jsonl")  # numbers begin anew
    plant = LiveTank()
    env = live(plant, operator="operator.jsonl", mode="advise")
    env.reset()
    for _ in range(number + 8):
        env.step(MIDDLE)
    assert plant.written == []


@pytest.mark.parametrize("trap", ["pipe", "folder", "deep", "token pipe", "token bytes"])
def test_an_operators_file_that_is_none_stops_the_plant_and_hangs_nothing(live, tmp_path, trap):
    desk = OperatorFile(tmp_path / "operator.jsonl")
    desk.create()
    spoiled = desk.token_path if "token" in trap else desk.path
    spoiled.unlink()
    if "pipe" in trap:
        os.mkfifo(spoiled)
    elif trap == "folder":
        spoiled.mkdir()
    else:
        spoiled.write_bytes(b"[" * 100_000 if trap == "deep" else b"\xff" * 32)
    plant = LiveTank()
    env = live(plant, clock=Clock(period=0.02, start_within=20), operator="operator.jsonl")
    if trap in ("deep", "token bytes"):  # a line that nobody signed, and a token as good as any
        env.reset()
        assert env.step(MIDDLE)[-1]["applied"][1] == 0.5
    else:
        with pytest.raises(PlantRefused, match=r"operator's file cannot be read.* is no file"):
            env.reset()
        assert plant.written == []


def test_a_latch_that_could_not_be_kept_refuses_the_start(live, tmp_path, monkeypatch):
    OperatorFile(tmp_path / "operator.jsonl").create()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for root, everything can be written
    plant = LiveTank()
    env = live(plant, operator="operator.jsonl", interlocks=(Interlock(when="level > 8", latch=True),))
    with pytest.raises(PlantRefused, match="cannot be written"):
        env.reset()
    assert plant.written == []


def test_a_disk_that_was_full_for_a_while_leaves_the_chain_whole(tmp_path, monkeypatch):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append({"event": "one"})

    class Full:
        """Takes half a line, as a disk that becomes full does."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, line):
            return self.file.write(line[: len(line) // 2])

    real, log._file = log._file, Full(log._file)
    with pytest.raises(OSError, match="no space left"):
        log.append({"event": "two"})
    log._file = real
    log.append({"event": "three"})
    log.close()
    assert [record["event"] for record in records(tmp_path / "audit.jsonl")] == ["one", "three"]


@pytest.mark.parametrize(
    "line",
    [
        {"event": "act"},  # before anything was opened
        {"event": "open", "read": [], "actions": ["a"], "num_envs": float(10**300)},
        {"event": "open", "read": [], "actions": 3, "num_envs": 1},
    ],
)
def test_a_forged_line_with_a_fitting_hash_is_named(tmp_path, line):
    with_hash = {"n": 0, **line, "prev": "0" * 64}
    with_hash["hash"] = digest(with_hash)
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps(with_hash, separators=(",", ":")) + "\n")
    with pytest.raises(AuditBroken, match="line 1: it is not what a gate writes"):
        verify(path)


def test_a_line_nested_without_end_is_named(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(AuditBroken, match="line 1"):
        verify(path)
    with pytest.raises(AuditBroken):
        AuditLog(path)


@pytest.mark.parametrize("formula", ["-" * 450 + "1", "(" * 300 + "1" + ")" * 300, "1" + "0" * 400, "not " * 200 + "1"])
def test_a_formula_that_would_fail_in_a_step_is_refused_at_once(formula):
    with pytest.raises(ExpressionError):
        Expression(formula, ["x"])


@pytest.mark.parametrize("hold", [float("nan"), float("inf"), -1.0])
def test_a_bad_reading_cannot_be_held_for_ever(hold):
    plant = LiveTank()
    plant.signals = (Signal("level", "observation", 0, 10, hold=hold), *plant.signals[1:])
    with pytest.raises(BadPlant, match="hold"):
        PlantEnv(plant)


@pytest.mark.parametrize(
    "section",
    [
        {"clock": {"period": "1e300 s"}},
        {"clock": {"patience": 1e300}},
        {"gate": {"penalty": float("inf")}},
        {"clock": {"period": 1e-300}},
    ],
)
def test_times_that_nothing_can_wait_for_are_refused(section):
    with pytest.raises(ValidationError):
        PlantFile.model_validate({"env": "plant.py:Plant", **section})


def test_a_plant_whose_clock_is_nan_is_not_taken_for_one_that_goes_on(live):
    plant = LiveTank()
    env = live(plant, frozen_after=0.1)
    env.reset()
    env.step(MIDDLE)
    plant.time = float("nan")
    until(lambda: env.step(MIDDLE)[3])
    assert plant.written[-1] == {"valve": 0.0, "pump": -1.0}
