"""The SimPy driver."""

from __future__ import annotations

import pytest

from rlbridge.plants import PlantLost, Signal
from rlbridge.plants.drivers import load_driver
from tests.conftest import ROOT

SIGNALS = [
    Signal("finished", "observation", 0, 1e6, tag="done"),
    Signal("waiting", "observation", 0, 100),
    Signal("capacity", "monitor", 0, 100, tag="queue.capacity"),
    Signal("draw", "monitor", 0, 1),
    Signal("rate", "action", 0.01, 4, "1/min"),
    Signal("stuck", "action", 0, 1),
]


def make(**settings):
    settings = {"model": "shop.py:Shop", **settings}
    return load_driver("simpy")(SIGNALS, {"rate": 0.1, "stuck": 0}, ROOT / "tests/plants", **settings)


def test_a_period_is_a_run_of_the_model():
    plant = make(model_kwargs={"service": 0.5}, time_unit=60.0)
    for _ in range(2):
        plant.start(0, {})
        plant.advance(600.0)
        reading = plant.read()
        assert reading.time == 600
        assert reading.values["finished"] == 4  # arrivals at 2, 4, 6, 8 min; at 10 is not yet
        assert reading.values["waiting"] == 0
        plant.write({"rate": 4.0})
        for _ in range(10):
            plant.advance(60.0)
        reading = plant.read()
        assert reading.time == 1200
        # One at 10 min, then every 0.25 min up to 19.75: 40; the machine finishes at 10.5, 11, ... 19.5 and has one.
        assert reading.values["finished"] == 4 + 19
        assert reading.values["waiting"] == 40 - 19 - 1
        assert reading.bad == {"capacity"}  # infinite


def test_the_seed_is_the_models():
    plant = make()
    drawn = []
    for seed in (1, 1, 2):
        plant.start(seed, {})
        drawn.append(plant.read().values["draw"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_model_in_which_no_time_passes_ends_within_the_deadline():
    plant = make(timeout=0.2)
    plant.start(0, {})
    plant.write({"stuck": 1})
    with pytest.raises(PlantLost, match=r"did not get from 0 to 10 within 0.2 s"):
        plant.advance(10)
    plant.start(0, {})
    plant.advance(10)
    assert plant.read().values["finished"] == 4


def test_what_the_model_raises_is_told():
    plant = make()
    plant.start(0, {})
    plant.write({"rate": 0.0})
    with pytest.raises(ZeroDivisionError):
        plant.advance(10)


@pytest.mark.parametrize("wrong", [0, -1, "soon", "0 s"])
def test_a_duration_that_is_none_is_named(wrong):
    with pytest.raises(ValueError, match=r"time_unit: .*got"):
        make(time_unit=wrong)
    assert make(time_unit="1 min").signals == SIGNALS
