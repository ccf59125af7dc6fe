"""The quadruple tank: Johansson's operating points, and the same process behind a real OPC UA server."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from rlbridge.entry_point import resolve_factory
from rlbridge.plants import BatchPlant
from rlbridge.plants.plant_file import PlantFactory, PlantFile

FOLDER = Path(__file__).parents[2] / "env_servers" / "quadruple_tank"
PHASES = vars(sys.modules[resolve_factory("tanks.py:advance", folder=FOLDER).__module__])["PHASES"]
advance = resolve_factory("tanks.py:advance", folder=FOLDER)
steady_levels = resolve_factory("tanks.py:steady_levels", folder=FOLDER)
QuadrupleTank = resolve_factory("tank_process.py:QuadrupleTank", folder=FOLDER)
DecentralisedPI = resolve_factory("decentralised_pi.py:DecentralisedPI", folder=FOLDER)
play = resolve_factory("decentralised_pi.py:play", folder=FOLDER)

PUBLISHED = {"minimum": (12.26, 12.78, 1.63, 1.41), "non-minimum": (12.44, 13.17, 4.73, 4.99)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_johanssons_operating_points(name):
    """From empty tanks, with his voltages, to his levels: as printed, to the hundredth of a centimetre."""
    phase = PHASES[name]
    levels = advance(np.zeros(4), np.array(phase.voltages), phase, 3000.0)
    assert levels == pytest.approx(PUBLISHED[name], abs=0.005)
    assert levels == pytest.approx(steady_levels(np.array(phase.voltages), phase), abs=1e-6)


def test_in_the_non_minimum_phase_water_first_goes_the_wrong_way():
    """More of pump 2 and less of pump 1, along the zero's direction: level 1 falls before it rises, or the reverse."""
    seen = {}
    for name in PUBLISHED:
        phase = PHASES[name]
        rest = steady_levels(np.array(phase.voltages), phase)
        pumps = np.array(phase.voltages) + np.array([0.3, -0.25])
        path = np.array([advance(rest, pumps, phase, t)[0] - rest[0] for t in (20.0, 3000.0)])
        seen[name] = path[0] * path[1]
    assert seen["minimum"] > 0.0 > seen["non-minimum"]


def test_water_is_conserved():
    """With the pumps off, what leaves the lower tanks is what the four tanks held."""
    phase = PHASES["minimum"]
    levels, lost = np.array([12.0, 12.0, 5.0, 5.0]), 0.0
    areas, outlets = np.array([28.0, 32.0, 28.0, 32.0]), np.array([0.071, 0.057])
    before = areas @ levels
    for _ in range(2000):
        after = advance(levels, np.zeros(2), phase, 0.05)
        middle = (levels[:2] + after[:2]) / 2
        lost += 0.05 * outlets @ np.sqrt(2 * 981.0 * middle)
        levels = after
    assert before - areas @ levels == pytest.approx(lost, rel=1e-5)


def test_a_tank_is_never_emptier_than_empty():
    assert np.array_equal(advance(np.full(4, 0.01), np.zeros(2), PHASES["minimum"], 600.0), np.zeros(4))


def test_the_plant_is_a_batch():
    plant = QuadrupleTank(num_envs=3)
    assert isinstance(plant, BatchPlant)
    plant.start_rows(np.ones(3, np.bool_), [5, 6, 5], {})
    plant.write({"pump1": np.array([3.0, 4.0, 3.0]), "pump2": np.full(3, 3.0)})
    plant.advance(250.0)
    values = plant.read().values
    assert values["level1"][0] == values["level1"][2] < values["level1"][1]
    assert values["set_point1"][0] == values["set_point1"][2] != values["set_point1"][1]


def test_johanssons_controllers_are_far_better_than_none_where_the_phase_is_minimum():
    phase = PHASES["minimum"]
    returns, trace = play(DecentralisedPI("minimum"), "minimum", seed=1, episodes=4)
    held, _ = play(lambda seen: np.tile(phase.voltages, (len(seen), 1)), "minimum", seed=1, episodes=4)
    assert held.mean() < 5 * returns.mean()
    assert abs(trace["level1"][-2] - trace["set_point1"][-2]) < 0.2


def test_johanssons_controllers_take_half_an_hour_where_it_is_not():
    """A step of 1 cm: level 2 is still far away after 10 minutes, and both are there after an hour."""
    phase, controller = PHASES["non-minimum"], DecentralisedPI("non-minimum")
    levels = steady_levels(np.array(phase.voltages), phase)
    wanted, errors = levels[:2] + np.array([1.0, 0.0]), []
    for _ in range(144):
        pumps = controller(np.concatenate([levels, wanted, [0.0, 0.0]])[np.newaxis])[0]
        levels = advance(levels, pumps, phase, 25.0)
        errors.append(np.abs(levels[:2] - wanted).max())
    assert errors[23] > 0.5
    assert errors[-1] < 0.02


@pytest.fixture
def laboratory():
    """The OPC UA server in a process of its own, 20 times as fast as life; yields its address."""
    pytest.importorskip("asyncua")
    with socket.socket() as probe:  # asyncua does not tell the port that it got
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(FOLDER / "laboratory.py"), "--port", str(port), "--speed", "20", "--watchdog", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == f"serving opc.tcp://127.0.0.1:{port}\n"
    yield f"opc.tcp://127.0.0.1:{port}"
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_policy_drives_the_real_server_through_the_gate(laboratory, tmp_path):
    settings = yaml.safe_load((FOLDER / "live.yaml").read_text())
    settings.update(endpoint=laboratory, clock={"period": 0.25})
    env = PlantFactory(PlantFile(**settings), tmp_path)()
    observation, info = env.reset()
    assert observation[:4] == pytest.approx(PUBLISHED["minimum"], abs=0.3)
    assert info["applied"] == pytest.approx([3.0, 3.0])  # it takes over from the set points that stand there
    observation, _, _, _, info = env.step(np.array([3.5, 99.0], np.float32))
    assert info["applied"] == pytest.approx([3.5, 10.0])  # limited to EURange, which the server itself would not do
    for _ in range(8):
        observation, _, terminated, truncated, info = env.step(np.array([3.5, 4.0], np.float32))
        assert not terminated
        assert not truncated
    assert observation[1] > PUBLISHED["minimum"][1] + 1.0
    watch = connected(laboratory, tmp_path)
    assert watch.read().values["pump1"] == 3.5
    env.close()
    # Closing has made it safe; nobody sends heartbeats any more, and the laboratory's own watchdog trips.
    assert watch.read().values["pump1"] == 0.0
    watch.write({"pump1": 5.0})
    until = time.monotonic() + 20.0
    while watch.read().values["pump1"] != 0.0:
        assert time.monotonic() < until, "the watchdog did not switch the pump off"
        time.sleep(0.05)
    watch.close()


def connected(endpoint, folder):
    """The driver alone: a second client that looks, and writes past the gate."""
    settings = yaml.safe_load((FOLDER / "live.yaml").read_text())
    settings.update(endpoint=endpoint)
    plant = PlantFactory(PlantFile(**settings), folder)().plant
    plant.start(None, {})
    return plant
