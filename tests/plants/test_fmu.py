"""The FMI driver against FMUs built by pythonfmu (FMI 2) and pythonfmu3 (FMI 3)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlbridge.plants import PlantLost, PlantRefused, Signal
from rlbridge.plants.drivers import load_driver

SOURCES = Path(__file__).parent / "fmus"
SIGNALS = [
    Signal("level", "observation", 0, 3, "m"),
    Signal("count", "observation", 0, 1e6, tag="steps"),
    Signal("inflow", "action", -1, 1, "m3/s"),
]
MISBEHAVE = Signal("mode", "action", 0, 9)
SAFE = {"inflow": 0.0}
CRASH, HANG, FAIL, NAN, PRINT = 1.0, 2.0, 3.0, 4.0, 5.0


@pytest.fixture(scope="module")
def fmus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fmus")
    for builder, source in (("pythonfmu", "tank.py"), ("pythonfmu3", "tank3.py")):
        command = [sys.executable, "-m", builder, "build", "-f", SOURCES / source, "-d", folder]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def make(fmus):
    plants = []

    def start(signals=(*SIGNALS, MISBEHAVE), file="Tank.fmu", **settings):
        plants.append(load_driver("fmu")(list(signals), SAFE, fmus, **{"file": file, "timeout": 20.0, **settings}))
        return plants[-1]

    yield start
    for plant in plants:
        plant.close()


@pytest.mark.parametrize("file", ["Tank.fmu", "Tank3.fmu"])
def test_it_integrates_as_its_equation_says_and_starts_anew(make, file):
    plant = make(SIGNALS, file, step=0.1, parameters={"area": 4.0})
    for _ in range(2):
        plant.start(None, {})
        assert plant.read().values == {"level": 1.0, "count": 0, "inflow": 0}
        plant.write({"inflow": 0.8})
        plant.advance(0.5)
        plant.advance(0.5)
        reading = plant.read()
        assert reading.time == 1.0
        assert reading.values["level"] == pytest.approx(1 + 0.8 / 4)
        assert reading.values["count"] == 10
        assert reading.values["inflow"] == 0.8
    plant.start(None, {"parameters": {"area": 0.8}})
    plant.write({"inflow": 0.8})
    plant.advance(1.0)
    assert plant.read().values["level"] == pytest.approx(2)


def test_the_seed_reaches_the_variable_that_is_named(make):
    plant = make([Signal("level", "observation", 0, 3), Signal("s", "observation", 0, 1e9, tag="seed")], seed="seed")
    plant.start(42, {})
    assert plant.read().values["s"] == 42


def test_booleans_are_numbers_and_nan_is_bad(make):
    plant = make([*SIGNALS, MISBEHAVE, Signal("full", "observation", 0, 1)])
    plant.start(None, {})
    plant.write({"inflow": 1.0})
    plant.advance(2.5)
    assert plant.read().values["full"] == 1
    plant.write({"mode": NAN})
    plant.advance(1)
    reading = plant.read()
    assert reading.bad == {"level"}
    assert "level" not in reading.values


def test_a_value_outside_its_range_is_handed_on_as_it_is(make):
    plant = make()
    plant.start(None, {})
    plant.write({"inflow": 1.0})
    plant.advance(10)
    assert plant.read().values["level"] == 6


def test_what_it_prints_is_not_taken_for_an_answer(make):
    plant = make()
    plant.start(None, {})
    plant.write({"mode": PRINT})
    plant.advance(1)
    assert plant.read().values["count"] == 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (CRASH, r"the FMU Tank.fmu crashed in 'advance': its process ended with SIGABRT"),
        (HANG, r"the FMU Tank.fmu gave no answer to 'advance' within 2 s; its process was killed"),
        (FAIL, r"the FMU Tank.fmu failed in 'advance'"),
    ],
)
def test_one_that_misbehaves_ends_its_own_session_and_no_other_and_can_start_again(make, mode, message):
    plant, other = make(timeout=2.0 if mode == HANG else 20.0), make()
    for each in (plant, other):
        each.start(None, {})
    plant.write({"mode": mode})
    old = plant.pid
    with pytest.raises(PlantLost, match=message):
        plant.advance(1)
    with pytest.raises(PlantLost, match="is not running"):
        plant.read()
    other.advance(1)
    assert other.read().values["count"] == 1
    plant.start(None, {})
    plant.advance(1)
    assert plant.read().values["count"] == 1
    with pytest.raises(ProcessLookupError):
        os.kill(old, 0)


@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGSTOP, "within 2 s"), (signal.SIGKILL, "ended with SIGKILL")]
)
def test_a_process_that_is_stopped_or_killed_is_told(make, number, message):
    plant = make(timeout=2.0 if number == signal.SIGSTOP else 20.0)
    plant.start(None, {})
    os.kill(plant.pid, number)
    with pytest.raises(PlantLost, match=message):
        plant.read()


def test_the_process_is_replaced_after_so_many_episodes_and_ends_with_the_plant(make):
    plant = make(recycle=2)
    pids = []
    for _ in range(4):
        plant.start(None, {})
        pids.append(plant.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]
    plant.close()
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ([Signal("depth", "observation", 0, 1)], r"has no variable 'depth'; it has level, steps, full, inflow"),
        ([Signal("label", "observation", 0, 1)], r"variable 'label' .* is a String, not one number"),
    ],
)
def test_a_variable_that_cannot_be_is_named_at_the_start(make, signals, message):
    plant = make(signals)
    with pytest.raises(PlantRefused, match=message):
        plant.start(None, {})


def test_what_is_no_fmu_is_said(make, fmus):
    with pytest.raises(FileNotFoundError, match="there is no FMU"):
        make(file="nothing.fmu")
    (fmus / "text.fmu").write_text("not a zip")
    with pytest.raises(PlantRefused, match=r"the FMU text.fmu failed in 'open'"):
        make(file="text.fmu").start(None, {})
