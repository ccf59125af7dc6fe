"""What must hold whoever acts. Run with: pytest NAME"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rlbridge.plants import load_plant
from rlbridge.plants.replay import verify

HERE = Path(__file__).parent


def test_the_water_settles_where_the_energy_balance_says(tmp_path):
    env = load_plant(HERE, logs=tmp_path)
    plant = env.plant
    env.reset(seed=0)
    plant.heater, plant.temperature = 0.1 * 4.19 * 45.0, 60.0  # inflow · c · (60 - 15)
    plant.random = type("Calm", (), {"normal": lambda self, mean, deviation: mean})()
    plant.inflow = 15.0
    plant.advance(10.0)
    assert abs(plant.temperature - 60.0) < 1e-9


def test_no_actions_bring_it_above_the_interlock_by_much(tmp_path):
    env = load_plant(HERE, logs=tmp_path)
    env.reset(seed=0)
    hottest = 0.0
    for _ in range(150):
        observation, *_ = env.step(env.action_space.high)
        hottest = max(hottest, observation[0])
    assert 75 < hottest < 78
    env.close()
    assert verify(tmp_path / "audit.jsonl").written == 151  # closing writes the safe action


def test_the_heater_never_moves_faster_than_it_may(tmp_path):
    env = load_plant(HERE, logs=tmp_path)
    env.reset(seed=0)
    power = [5.0]
    for action in np.random.default_rng(0).uniform(-100, 100, 50):
        *_, info = env.step(np.array([action], np.float32))
        power.append(info["applied"][0])
    assert np.abs(np.diff(power)).max() <= 2.0 * 10 + 1e-9
