"""The rule to beat: the best fixed CONWIP level with the best fixed order of repair, found by sweep.

Run ``python env_servers/factory_line/baseline.py`` for the table. Every rule meets the same seeds (common random
numbers), and the winner is chosen on the very episodes it is reported on: that flatters the baseline, not its rival.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from factory_task import CAPS, STATIONS, action_of
from numpy.typing import NDArray

from rlbridge.entry_point import resolve_factory

FactoryLineEnv = resolve_factory("env.py:FactoryLineEnv", folder=Path(__file__).parent)

Rule = Callable[[NDArray[np.float32]], int]
"""An observation's action."""

EPISODES = 20
SEED = 10_000
"""Evaluation episodes have the seeds ``SEED``, ``SEED + 1``, ...; training never sees them."""


@dataclass(frozen=True)
class FixedRule:
    """A constant action and what it earned."""

    cap: int
    """Cards in play [jobs]."""
    first: str
    """The station that is repaired before the others."""
    action: int
    """The same as the environment's action."""
    returns: NDArray[np.float64]
    """One return an episode [k€]."""

    @property
    def mean_return(self) -> float:
        """Mean over the episodes [k€]."""
        return float(self.returns.mean())


def play(rule: Rule, episodes: int, seed: int) -> NDArray[np.float64]:
    """Returns [k€] of ``episodes`` episodes, seeded ``seed``, ``seed + 1``, ..."""
    env: Any = FactoryLineEnv()
    returns = np.zeros(episodes)
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(np.int64(rule(observation)))
            returns[episode] += reward
            done = terminated or truncated
    return returns


def sweep(episodes: int = EPISODES, seed: int = SEED) -> list[FixedRule]:
    """Play every constant action."""
    rules = []
    for first in STATIONS:
        for cap in CAPS:
            action = action_of(cap, first)
            rules.append(FixedRule(cap, first, action, play(lambda _, action=action: action, episodes, seed)))
    return rules


def best_fixed(episodes: int = EPISODES, seed: int = SEED) -> FixedRule:
    """The constant action with the highest mean return on these episodes."""
    return max(sweep(episodes, seed), key=lambda rule: rule.mean_return)


def half_width(values: NDArray[np.float64], confidence: float = 0.95) -> float:
    """Half of Student's confidence interval for the mean of independent ``values``.

    The quantile is the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5): within 0.5 % from 5 values on.
    """
    freedom = len(values) - 1
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    quantile = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def main() -> None:
    """Print the sweep: rows are levels, columns the station repaired first."""
    parser = argparse.ArgumentParser(description="Sweep the fixed CONWIP levels.")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()

    rules = sweep(arguments.episodes, arguments.seed)
    table = {(rule.cap, rule.first): rule for rule in rules}
    print(f"Return in k€ over 10 days: mean of {arguments.episodes} episodes ± 95 % interval\n")
    print("cards  " + "".join(f"{first + ' first':>16}" for first in STATIONS))
    for cap in CAPS:
        cells = (table[cap, first] for first in STATIONS)
        print(f"{cap:5d}  " + "".join(f"{rule.mean_return:9.1f} ± {half_width(rule.returns):4.1f}" for rule in cells))
    best = max(rules, key=lambda rule: rule.mean_return)
    print(f"\nBest: {best.cap} cards, {best.first} repaired first (action {best.action}): {best.mean_return:.1f} k€")


if __name__ == "__main__":
    main()
