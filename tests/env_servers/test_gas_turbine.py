"""The gas turbine: Rowen's steady points, what a load step ends in, and the two tasks behind the gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlbridge.entry_point import resolve_factory
from rlbridge.plants import BatchPlant
from rlbridge.server.catalog import load_catalog

FOLDER = Path(__file__).parents[2] / "env_servers" / "gas_turbine"
torque = resolve_factory("rowen.py:torque", folder=FOLDER)
exhaust_temperature = resolve_factory("rowen.py:exhaust_temperature", folder=FOLDER)
steady_state = resolve_factory("rowen.py:steady_state", folder=FOLDER)
load_reference = resolve_factory("rowen.py:load_reference", folder=FOLDER)
derivatives = resolve_factory("rowen.py:derivatives", folder=FOLDER)
advance = resolve_factory("rowen.py:advance", folder=FOLDER)
demand = resolve_factory("rowen.py:demand", folder=FOLDER)
Gains = resolve_factory("rowen.py:Gains", folder=FOLDER)
GasTurbine = resolve_factory("turbine.py:GasTurbine", folder=FOLDER)
SPEED, FUEL = 0, 4


def after_a_load_step(before, after, seconds, step=0.05, gains=None):
    """All states ``seconds`` after the load went from ``before`` to ``after``, the load reference unchanged."""
    state, reference = steady_state(before), load_reference(before)
    for _ in range(round(seconds / step)):
        state = advance(state, step, after, reference, gains or Gains())
    return state


@pytest.mark.parametrize(("flow", "expected", "temperature"), [(1.0, 1.001, 950.0), (0.23, 0.0, 411.0)])
def test_rated_and_no_load_fuel(flow, expected, temperature):
    assert torque(flow, 1.0) == pytest.approx(expected, abs=1e-9)
    assert exhaust_temperature(flow, 1.0) == pytest.approx(temperature, abs=1e-9)


@pytest.mark.parametrize("power", [0.0, 0.5, 0.9])
def test_the_steady_state_is_steady(power):
    """All but the temperature control's integral, which waits at its limit."""
    rates = derivatives(steady_state(power), power, load_reference(power), Gains())
    assert rates[:8] == pytest.approx(np.zeros(8), abs=1e-9)


def test_a_load_step_settles_where_the_droop_says():
    """0.5 to 0.6 pu at 4 % droop: N = 0.99589, 736.6 °F."""
    state = after_a_load_step(0.5, 0.6, 60.0)
    assert state[SPEED] == pytest.approx(0.99589, abs=1e-5)
    assert exhaust_temperature(state[FUEL], state[SPEED]) == pytest.approx(736.6, abs=0.05)


def test_with_reset_the_speed_comes_back():
    assert after_a_load_step(0.5, 0.6, 60.0, gains=Gains(reset=4.0))[SPEED] == pytest.approx(1.0, abs=1e-5)


def test_the_temperature_control_wins_when_the_gas_is_too_hot():
    """After a load that is too much the governor asks for all the fuel there is; what is burnt follows the other."""
    early, late = (after_a_load_step(0.5, 1.0, seconds) for seconds in (6.0, 20.0))
    governor, temperature = demand(late, Gains())
    assert governor > 1.5
    assert late[FUEL] == pytest.approx(0.23 + 0.77 * temperature * late[SPEED], abs=0.005)
    hot, cooler = (exhaust_temperature(state[FUEL], state[SPEED]) for state in (early, late))
    assert hot > 975.0
    assert cooler < 966.0


def test_the_integration_step_is_short_enough():
    coarse, fine = after_a_load_step(0.5, 0.6, 5.0), after_a_load_step(0.5, 0.6, 5.0, step=0.0125)
    assert coarse[SPEED] == pytest.approx(fine[SPEED], abs=1e-7)


def test_the_plant_is_a_batch_whose_rows_are_turbines_of_their_own():
    plant = GasTurbine(num_envs=3)
    assert isinstance(plant, BatchPlant)
    plant.start_rows(np.ones(3, np.bool_), [5, 6, 5], {})
    for _ in range(60):
        plant.advance(0.25)
    alone = GasTurbine()
    alone.start_rows(np.ones(1, np.bool_), [6], {})
    for _ in range(60):
        alone.advance(0.25)
    speeds = np.asarray(plant.read().values["speed"])
    assert speeds[0] == speeds[2] != speeds[1]
    assert speeds[1] == pytest.approx(np.asarray(alone.read().values["speed"])[0], abs=1e-12)


def env_of(name):
    return {offer.name: offer for offer in load_catalog(str(FOLDER))}[name].make()


def test_an_island_that_is_asked_for_too_much_collapses():
    """0.5 to 1.0 pu: the gas reaches its temperature limit, the speed falls, and the episode is terminated, not cut."""
    env = env_of("load-following")
    observation, _ = env.reset(seed=0, options={"loads": [0.5, 1.0]})
    hot, total, terminated = 0.0, 0.0, False
    while not terminated:
        observation, reward, terminated, truncated, _ = env.step(observation[6:7])
        assert not truncated
        hot += env.controlled.guard.seen.values["over_temperature"][0]
        total += reward
    assert observation[0] < 0.94
    assert hot > 3.0
    assert total < -20.0
    env.close()


def test_the_reward_counts_speed_errors_and_heat():
    env = env_of("load-following")
    observation, _ = env.reset(seed=0, options={"loads": [0.5, 0.6]})
    squared = sum(-env.step(observation[6:7])[1] for _ in range(240)) / 1e3
    state, reference, expected = steady_state(0.5), load_reference(0.5), 0.0
    for _ in range(1100):
        state = advance(state, 0.05, 0.6, reference, Gains())
        expected += 0.05 * (1 - state[SPEED]) ** 2
    assert squared == pytest.approx(expected, rel=1e-6)
    env.close()


def test_the_load_reference_moves_no_faster_than_it_may():
    env = env_of("load-following")
    env.reset(seed=0, options={"loads": [0.5]})
    applied = [env.step(np.ones(1, np.float32))[4]["applied"][0] for _ in range(4)]
    assert np.diff(applied) == pytest.approx(np.full(3, 0.05))
    env.close()


def test_tuning_begins_with_the_published_gains_and_better_ones_exist():
    returns = []
    for gains in (None, (0.04, 3.0, 8.0, 250.0)):
        env = env_of("tuning")
        observation, _ = env.reset(seed=3)
        assert observation[6:] == pytest.approx([0.04, 0.0, 3.3, 250.0])
        action = np.array(observation[6:] if gains is None else gains, np.float32)
        steps = [env.step(action) for _ in range(12)]
        assert [step[3] for step in steps] == [False] * 11 + [True]
        returns.append(sum(step[1] for step in steps))
        env.close()
    assert returns[1] > returns[0] / 2
