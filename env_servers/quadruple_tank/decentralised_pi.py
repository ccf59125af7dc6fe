"""The rule to beat: Johansson's decentralised PI controllers, one pump for one lower tank.

Published for level sensors of 0.5 V/cm, ``v = K (e + integral(e)/T)``, pump 1 for tank 1 and pump 2 for tank 2; in the
non-minimum phase setting one of the gains is negative, and settling takes some ten times longer.
``python env_servers/quadruple_tank/decentralised_pi.py`` plays both settings.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tanks import PHASES

from rlbridge.server.catalog import load_catalog

FOLDER = Path(__file__).resolve().parent
SENSOR = 0.5
"""kc [V/cm]."""
GAINS = {"minimum": ((3.0, 2.7), (30.0, 40.0)), "non-minimum": ((1.5, -0.12), (110.0, 220.0))}
"""K [V/V] and T [s] of both loops."""
PERIODS = {"minimum": 5.0, "non-minimum": 25.0}
"""Seconds between two readings, as in serve.yaml."""
EPISODES = 64
SEED, TUNING_SEED = 10_000, 20_000
"""Episodes have the seeds ``SEED``, ``SEED + 1``, ...; training and the sweep never see those they are compared on."""

Numbers = NDArray[np.float64]


class DecentralisedPI:
    """Actions [N, 2] from observations [N, 8]; make a new one for new episodes.

    Args:
        phase: ``minimum`` or ``non-minimum``.
        gain_factor, time_factor: scale the published gains and times, both loops alike.
    """

    def __init__(self, phase: str, gain_factor: float = 1.0, time_factor: float = 1.0) -> None:
        gains, times = GAINS[phase]
        self._gains, self._period = gain_factor * SENSOR * np.array(gains), PERIODS[phase]
        self._times = time_factor * np.array(times)
        self._integral: Any = np.array(PHASES[phase].voltages)

    def __call__(self, observation: NDArray[np.float32]) -> Numbers:
        """The pumps [V]."""
        error = observation[:, 4:6].astype(np.float64) - observation[:, :2]
        wanted = self._gains * error + self._integral
        growth = self._gains * error * self._period / self._times
        stuck = ((wanted > 10.0) & (growth > 0.0)) | ((wanted < 0.0) & (growth < 0.0))
        self._integral = self._integral + np.where(stuck, 0.0, growth)
        return np.clip(wanted, 0.0, 10.0)


def play(rule: Any, phase: str, seed: int = SEED, episodes: int = EPISODES) -> tuple[Numbers, dict[str, Numbers]]:
    """The returns [N] of whole episodes, all at once, and the signals of the first one, a number a step."""
    make_batch = {offer.name: offer for offer in load_catalog(str(FOLDER))}[phase].make_batch
    assert make_batch is not None
    envs = make_batch(num_envs=episodes)
    observation, _ = envs.reset(seed=seed)
    returns, seen, done = np.zeros(episodes), [], False
    while not done:
        observation, reward, _, truncated, _ = envs.step(rule(observation))
        done = bool(truncated.all())
        returns += reward
        seen.append({name: float(value[0]) for name, value in envs.controlled.guard.seen.values.items()})
    envs.close()
    return returns, {name: np.array([each[name] for each in seen]) for name in seen[0]}


def swept(phase: str) -> tuple[float, float]:
    """The factors of gains and times with the best return on other episodes than those for comparison."""
    grid = itertools.product((0.5, 1.0, 2.0, 3.0, 4.0, 6.0), (0.5, 1.0, 2.0, 4.0))
    return max(grid, key=lambda factors: play(DecentralisedPI(phase, *factors), phase, TUNING_SEED)[0].mean())


def main() -> None:
    """Print what they earn."""
    for phase in PHASES:
        returns, _ = play(DecentralisedPI(phase), phase)
        held, _ = play(lambda seen, phase=phase: np.tile(PHASES[phase].voltages, (len(seen), 1)), phase)
        print(
            f"{phase} phase: return {returns.mean():.1f}; with the pumps held as they are {held.mean():.1f}", end="; "
        )
        factors = swept(phase)
        print(f"gains and times scaled by {factors}: {play(DecentralisedPI(phase, *factors), phase)[0].mean():.1f}")


if __name__ == "__main__":
    main()
