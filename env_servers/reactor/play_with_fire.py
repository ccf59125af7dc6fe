"""What the interlock is worth, and how it depends on the period: random coolant, with it and without.

``python env_servers/reactor/play_with_fire.py`` prints the highest temperatures of 64 reactors in 15 minutes. Reactors
that ignite are slow to simulate: of those without an interlock there are 8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from rlbridge.plants import PlantVectorEnv
from rlbridge.plants.plant_file import PlantFactory, PlantFile

FOLDER = Path(__file__).resolve().parent
HOLDS = (15.0, 30.0, 150.0)
"""Seconds for which a random action is held."""


def batch(num_envs: int, period: float = 3.0, interlock: bool = True) -> PlantVectorEnv:
    """The reactors of serve.yaml, without end, at another period or without the interlock."""
    settings = yaml.safe_load((FOLDER / "serve.yaml").read_text())
    settings["clock"]["period"], settings["task"]["horizon"] = period, None
    if not interlock:
        settings["gate"]["interlocks"] = []
    return PlantFactory(PlantFile(**settings), FOLDER).batch(num_envs)


def highest(envs: PlantVectorEnv, seconds: float, hold: float) -> float:
    """The highest temperature [K] under random actions, each held for ``hold`` seconds."""
    generator, period, peak = np.random.default_rng(0), envs.controlled.clock.period, 0.0
    envs.reset(seed=0)
    for step in range(round(seconds / period)):
        if step % max(1, round(hold / period)) == 0:
            action = generator.uniform(290.0, 312.0, (envs.num_envs, 1))
        envs.step(action)
        peak = max(peak, float(envs.controlled.guard.seen.values["peak"].max()))
    return peak


def main() -> None:
    """Print the table."""
    print("held for          " + "".join(f"{hold:8.0f} s" for hold in HOLDS))
    for period, interlock in ((3.0, False), (3.0, True), (6.0, True), (12.0, True)):
        peaks = [highest(batch(64 if interlock else 8, period, interlock), 900.0, hold) for hold in HOLDS]
        name = f"{period:4.0f} s, {'gate' if interlock else 'no interlock'}"
        print(f"{name:18s}" + "".join(f"{peak:8.1f} K" for peak in peaks), flush=True)


if __name__ == "__main__":
    main()
