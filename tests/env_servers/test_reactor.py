"""The reactor: the physics against the book's steady states, the gate against an operator who plays with fire."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlbridge.entry_point import resolve_factory
from rlbridge.plants import BatchPlant

FOLDER = Path(__file__).parents[2] / "env_servers" / "reactor"
advance = resolve_factory("cstr.py:advance", folder=FOLDER)
derivatives = resolve_factory("cstr.py:derivatives", folder=FOLDER)
Reactor = resolve_factory("reactor.py:Reactor", folder=FOLDER)
PI = resolve_factory("pi_control.py:PI", folder=FOLDER)
Gains = resolve_factory("pi_control.py:Gains", folder=FOLDER)
play = resolve_factory("pi_control.py:play", folder=FOLDER)
batch = resolve_factory("play_with_fire.py:batch", folder=FOLDER)
highest = resolve_factory("play_with_fire.py:highest", folder=FOLDER)


def held(coolant, minutes, pieces=1):
    """From a cold start with constant coolant: concentration, temperature, highest temperature."""
    state, peaks = (0.9, 320.0), []
    for _ in range(pieces):
        *state, peak = advance(*state, coolant, 350.0, minutes / pieces)
        peaks.append(peak)
    return *state, max(peaks)


def test_the_books_steady_state():
    """Henson and Seborg: 300 K coolant gives 0.8773 mol/L and 324.48 K."""
    concentration, temperature, _ = held(300.0, 100.0)
    assert concentration == pytest.approx(0.8773, abs=1e-4)
    assert temperature == pytest.approx(324.48, abs=0.01)
    assert derivatives(concentration, temperature, 300.0, 350.0) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_the_third_steady_state_is_where_the_book_says():
    """300 K coolant also allows 0.5 mol/L at 350 K: no reactor stays there by itself."""
    assert derivatives(0.5, 350.0, 300.0, 350.0) == pytest.approx((0.0, 0.0), abs=0.06)
    assert abs(advance(0.5, 350.5, 300.0, 350.0, 5.0)[1] - 350.0) > 5.0


def test_warmer_than_304_it_ignites_and_oscillates():
    assert held(303.0, 50.0)[2] < 335.0
    concentration, temperature, peak = held(304.0, 50.0, pieces=50)
    assert peak > 440.0
    later = [advance(concentration, temperature, 304.0, 350.0, minutes)[1] for minutes in np.linspace(0.5, 10.0, 20)]
    assert max(later) - min(later) > 10.0


def test_the_integration_step_is_short_enough():
    """Through an ignition in one piece and in 400, whose steps are an eighth: the same within 0.01 K."""
    whole, pieces = held(306.0, 2.5), held(306.0, 2.5, pieces=400)
    assert whole[2] > 470.0
    assert whole[1] == pytest.approx(pieces[1], abs=0.01)


def test_a_batch_is_that_many_reactors():
    """Each row as if alone, whatever its neighbours do; here one of them ignites."""
    coolants = np.array([290.0, 300.0, 312.0])
    together = advance(np.full(3, 0.9), np.full(3, 320.0), coolants, np.full(3, 350.0), 3.0)
    alone = [advance(0.9, 320.0, coolant, 350.0, 3.0) for coolant in coolants]
    np.testing.assert_allclose(np.transpose(together), alone, rtol=1e-9)


def test_the_plant_is_a_batch_whose_rows_have_their_own_seeds():
    plant = Reactor(num_envs=3)
    assert isinstance(plant, BatchPlant)
    plant.start_rows(np.array([True, True, True]), [5, 6, 5], {})
    for _ in range(250):
        plant.write({"coolant": np.array([298.0, 299.0, 298.0])})
        plant.advance(3.0)
    values = {name: np.asarray(value).copy() for name, value in plant.read().values.items()}
    assert values["set_point"][0] == values["set_point"][2] != values["set_point"][1]
    assert values["temperature"][0] == values["temperature"][2]
    plant.start_rows(np.array([False, True, False]), [None, None, None], {})
    after = plant.read().values
    assert after["temperature"][1] == pytest.approx(324.475)
    assert after["temperature"][0] == values["temperature"][0]


def test_without_interlock_random_coolant_ignites_the_reactor():
    assert 470.0 < highest(batch(16, interlock=False), seconds=240.0, hold=30.0) < 510.0


@pytest.mark.parametrize("hold", [15.0, 150.0])
def test_the_gate_keeps_it_below_the_interlock_and_a_little(hold):
    """340 K plus what happens within one period; between readings too."""
    assert 340.0 < highest(batch(32), seconds=900.0, hold=hold) < 342.0


def test_interlocks_act_at_once_and_all_else_within_the_rate():
    envs, generator, coolants = batch(32), np.random.default_rng(0), []
    envs.reset(seed=0)
    for _ in range(200):
        coolants.append(envs.step(generator.choice([290.0, 312.0], (32, 1), p=[0.3, 0.7]))[4]["applied"][:, 0])
    steps = np.abs(np.diff(coolants, axis=0))
    assert steps.max() > 5.0
    assert steps[np.array(coolants)[1:] > 290.0].max() <= 2.0 + 1e-9


def test_a_tuned_pi_controller_follows_the_set_point():
    result = play(PI(Gains(3.7, 1.28, -0.8)), seed=1, episodes=8)
    error = np.abs(result.traces["temperature"] - result.traces["set_point"])
    assert (
        error[10:14].max() < 1.0
    )  # the middle of the first stage: neither the set point nor the feed has just changed
    assert result.peak < 340.0
    held = play(lambda seen: np.full((len(seen), 1), 300.0), seed=1, episodes=8)
    assert result.returns.mean() > held.returns.mean() / 2


def test_the_seed_decides_an_episode():
    returns = [play(PI(Gains(4.0, 0.3)), seed, episodes=2).returns for seed in (3, 3, 4)]
    assert np.array_equal(returns[0], returns[1])
    assert not np.array_equal(returns[0], returns[2])
    assert returns[0][0] != returns[0][1]
