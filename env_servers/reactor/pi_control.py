"""The rule to beat: a PI controller, tuned for this very task, alone and with feed-forward of the feed's temperature.

``python env_servers/reactor/pi_control.py`` tunes both: a grid, then a search around its best point, each candidate on
the same 64 episodes, behind the same gate as everybody. Reported are 64 other episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cstr import FEED_TEMPERATURE
from numpy.typing import NDArray

from rlbridge.server.catalog import load_catalog

FOLDER = Path(__file__).resolve().parent
EPISODES = 64
SEED, TUNING_SEED = 10_000, 20_000
"""Episodes have the seeds ``SEED``, ``SEED + 1``, ...; training and tuning never see those they are compared on."""

Numbers = NDArray[np.float64]
Rule = Callable[[NDArray[np.float32]], Any]
"""Observations [N, 5] to actions [N, 1]."""


@dataclass(frozen=True)
class Played:
    """What a rule did in a batch of episodes."""

    returns: Numbers
    """[N] undiscounted."""
    peak: float
    """The highest temperature of all, between readings too [K]."""
    traces: dict[str, Numbers]
    """Of the first episode, by signal: one number a step."""


def play(rule: Rule, seed: int, episodes: int = EPISODES, file: Path = FOLDER) -> Played:
    """Play whole episodes, all at once, behind the gate of ``file`` (a serve.yaml, or the folder of one)."""
    make_batch = load_catalog(str(file))[0].make_batch
    assert make_batch is not None
    envs = make_batch(num_envs=episodes)
    observation, _ = envs.reset(seed=seed)
    returns, peak, seen = np.zeros(episodes), 0.0, []
    done = False
    while not done:
        observation, reward, terminated, truncated, _ = envs.step(rule(observation))
        done = bool(np.all(terminated | truncated))
        values = envs.controlled.guard.seen.values
        returns += reward
        peak = max(peak, float(values["peak"].max()))
        seen.append({name: float(value[0]) for name, value in values.items()})
    envs.close()
    return Played(returns, peak, {name: np.array([each[name] for each in seen]) for name in seen[0]})


@dataclass(frozen=True)
class Gains:
    """Of a PI controller: K/K, minutes, and K/K of the feed's deviation from 350 K."""

    gain: float
    reset: float
    feed_forward: float = 0.0


class PI:
    """``300 K + gain (e + integral(e)/reset) + feed_forward (feed - 350 K)``; stops integrating at its limits."""

    def __init__(self, gains: Gains, period: float = 0.05) -> None:
        self.gains, self.period = gains, period
        self._integral: Any = 0.0

    def __call__(self, observation: NDArray[np.float32]) -> Numbers:
        """Actions [N, 1] from observations [N, 5]; call it once a step, a new one for new episodes."""
        temperature, _, set_point, feed, _ = observation.astype(np.float64).T
        error = set_point - temperature
        fixed = 300.0 + self.gains.gain * error + self.gains.feed_forward * (feed - FEED_TEMPERATURE)
        integral = self._integral + self.gains.gain * error * self.period / self.gains.reset
        stuck = ((fixed + integral > 312.0) & (error > 0.0)) | ((fixed + integral < 290.0) & (error < 0.0))
        self._integral = np.where(stuck, self._integral, integral)
        return np.clip(fixed + self._integral, 290.0, 312.0)[:, np.newaxis]


def tuned(feed_forward: bool, rounds: int = 2) -> tuple[Gains, float]:
    """The best gains found, and their mean return on the episodes for tuning."""
    slopes = (-0.8, -0.4, 0.0) if feed_forward else (0.0,)
    grid = itertools.starmap(Gains, itertools.product((2.0, 4.0, 8.0, 12.0), (0.1, 0.2, 0.4, 0.8), slopes))
    best = max((_scored(gains) for gains in grid), key=lambda scored: scored[1])
    for factor in (1.3, 1.15, 1.07)[:rounds]:
        best = max((best, *map(_scored, _around(best[0], factor))), key=lambda scored: scored[1])
    return best


def _around(gains: Gains, factor: float) -> Iterator[Gains]:
    for one, other in itertools.product((1 / factor, 1.0, factor), repeat=2):
        yield replace(gains, gain=gains.gain * one, reset=gains.reset * other)
    if gains.feed_forward:
        yield replace(gains, feed_forward=gains.feed_forward * factor)
        yield replace(gains, feed_forward=gains.feed_forward / factor)


def _scored(gains: Gains) -> tuple[Gains, float]:
    return gains, float(play(PI(gains), TUNING_SEED).returns.mean())


def main() -> None:
    """Print what was found."""
    for feed_forward in (False, True):
        gains, score = tuned(feed_forward)
        result = play(PI(gains), SEED)
        print(f"{gains}: return {score:.2f} on the episodes for tuning")
        print(f"    {result.returns.mean():.2f} on those for comparison, highest temperature {result.peak:.1f} K")


if __name__ == "__main__":
    main()
