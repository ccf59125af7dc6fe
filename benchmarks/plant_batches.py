"""What a batch of 64 simulated plants costs, as a multiple of one: ``python benchmarks/plant_batches.py``.

Each pair is timed in turn, round by round, and the ratio is that of the medians, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from rlbridge.entry_point import resolve_factory

SERVERS = Path(__file__).resolve().parents[1] / "env_servers"
PLANTS = {
    "gas_turbine": ("turbine.py:GasTurbine", 0.25),
    "reactor": ("reactor.py:Reactor", 3.0),
    "quadruple_tank": ("tank_process.py:QuadrupleTank", 5.0),
}
"""The factory, and the seconds of one period."""


def started(folder: str, factory: str, num_envs: int) -> Any:
    """A batch at the start of an episode."""
    plant = resolve_factory(factory, folder=SERVERS / folder)(num_envs=num_envs)
    plant.start_rows(np.ones(num_envs, np.bool_), list(range(num_envs)), {})
    plant.write(plant.safe_action())  # a reactor that ignites takes a thousand times shorter steps
    return plant


def seconds(plant: Any, dt: float, periods: int) -> float:
    """Of one period, the mean of ``periods``."""
    began = time.perf_counter()
    for _ in range(periods):
        plant.advance(dt)
    return (time.perf_counter() - began) / periods


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A batch of plants against one.")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(f"{'plant':16s}{'one':>12s}{arguments.num_envs:>9d}{'ratio':>9s}{'ratio each':>14s}")
    for folder, (factory, dt) in PLANTS.items():
        pair = [started(folder, factory, n) for n in (1, arguments.num_envs)]
        rounds = [[seconds(plant, dt, 20) for plant in pair] for _ in range(arguments.rounds + 1)][1:]
        one, many = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = many / one
        print(
            f"{folder:16s}{1e6 * one:9.0f} µs{1e6 * many:6.0f} µs{ratio:8.2f}x{ratio / arguments.num_envs:13.3f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
