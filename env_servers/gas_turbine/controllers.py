"""The rules to beat: the built-in governor as it is, the same with a second controller, and constant gains by search.

``python env_servers/gas_turbine/controllers.py`` prints what they earn on the episodes for comparison.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rowen import Gains

from rlbridge.server.catalog import load_catalog

FOLDER = Path(__file__).resolve().parent
EPISODES = 64
SEED, TUNING_SEED = 10_000, 20_000
"""Episodes have the seeds ``SEED``, ``SEED + 1``, ...; training and tuning never see those they are compared on."""
REFERENCE = 6
"""Where the load reference stands in the observation of load following."""
PUBLISHED = astuple(Gains())
"""The gains of the built-in controllers, in the order of the actions of tuning."""

Numbers = NDArray[np.float64]
Rule = Callable[[NDArray[np.float32]], Any]
"""Observations [N, S] to actions [N, A]."""


@dataclass(frozen=True)
class Played:
    """What a rule did in a batch of episodes of 60 s."""

    returns: Numbers
    """[N]"""
    squared_error: Numbers
    """[N] integral of ``(1 - speed)²`` [s]."""
    over_temperature: Numbers
    """[N] seconds above 950 °F."""
    collapses: int
    """Episodes that were terminated; nothing after that counts."""
    trace: dict[str, Numbers]
    """The signals of the first episode, a number a step."""

    def described(self) -> dict[str, float]:
        """Means, and the sum of the heat."""
        return {
            "return": float(self.returns.mean()),
            "squared_error": float(self.squared_error.mean()),
            "over_temperature_seconds": float(self.over_temperature.sum()),
            "collapses": self.collapses,
        }


def play(rule: Rule, task: str, seed: int, episodes: int = EPISODES) -> Played:
    """Play whole episodes of ``load-following`` or ``tuning``, all at once, behind the gate of serve.yaml."""
    make_batch = {offer.name: offer for offer in load_catalog(str(FOLDER))}[task].make_batch
    assert make_batch is not None
    envs = make_batch(num_envs=episodes)
    observation, _ = envs.reset(seed=seed)
    returns, error, heat = np.zeros(episodes), np.zeros(episodes), np.zeros(episodes)
    alive, ended, seen = np.ones(episodes, np.bool_), np.zeros(episodes, np.bool_), []
    collapses = 0
    while not ended.all():
        observation, reward, terminated, truncated, _ = envs.step(rule(observation))
        values = envs.controlled.guard.seen.values
        alive &= ~ended
        returns += np.where(alive, reward, 0.0)
        error += np.where(alive, values["squared_error"], 0.0)
        heat += np.where(alive, values["over_temperature"], 0.0)
        seen.append({name: float(value[0]) for name, value in values.items()})
        collapses += int((alive & terminated).sum())
        ended |= terminated | truncated
    envs.close()
    trace = {name: np.array([each[name] for each in seen]) for name in seen[0]}
    return Played(returns, error, heat, collapses, trace)


class BuiltIn:
    """The governor alone: its load reference stays as it was at the start of the episode."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, observation: NDArray[np.float32]) -> Any:
        if self._first is None:
            self._first = observation[:, REFERENCE : REFERENCE + 1].copy()
        return self._first


class SecondController:
    """A PI controller of the speed that moves the load reference: what brings the frequency back in a real plant."""

    def __init__(self, gain: float, integral: float, period: float = 0.25) -> None:
        self.gain, self.integral, self.period = gain, integral, period
        self._sum: Any = None

    def __call__(self, observation: NDArray[np.float32]) -> Numbers:
        error = 1.0 - observation[:, :1].astype(np.float64)
        if self._sum is None:
            self._sum = observation[:, REFERENCE : REFERENCE + 1].astype(np.float64)
        self._sum = np.clip(self._sum + self.integral * error * self.period, 0.0, 1.1)
        return np.clip(self._sum + self.gain * error, 0.0, 1.1)


def constant(gains: tuple[float, ...]) -> Rule:
    """The same gains all the time."""
    return lambda observation: np.tile(gains, (len(observation), 1))


def tuned_second() -> tuple[float, float]:
    """Gain and integral with the best return on the episodes for tuning."""
    grid = itertools.product((0.0, 2.0, 5.0, 10.0), (0.5, 1.0, 2.0, 3.0, 5.0, 8.0))
    return max(grid, key=lambda pair: play(SecondController(*pair), "load-following", TUNING_SEED).returns.mean())


def searched() -> tuple[float, ...]:
    """The constant gains with the best return on the episodes for tuning."""
    grid = itertools.product((0.02, 0.03, 0.04), (0.0, 2.0, 4.0, 7.0), (3.3, 6.0, 10.0), (250.0,))
    return max(grid, key=lambda gains: play(constant(gains), "tuning", TUNING_SEED).returns.mean())


def main() -> None:
    """Print the table."""
    print("built in:", play(BuiltIn(), "load-following", SEED).described())
    second = tuned_second()
    print(f"with a second controller {second}:", play(SecondController(*second), "load-following", SEED).described())
    print("published gains:", play(constant(PUBLISHED), "tuning", SEED).described())
    gains = searched()
    print(f"constant gains {gains}:", play(constant(gains), "tuning", SEED).described())


if __name__ == "__main__":
    main()
