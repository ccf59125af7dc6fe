"""Is there anything to learn from these prices? Walk-forward, against buy-and-hold and chance.

``python env_servers/trading/study.py`` trains as ``run.yaml`` says on the days before 2014, once a seed, with the
environments in this process, and plays every rule once on the days from 2014 to 2018. Writes ``result.json`` and
``result.png``. The intervals are of the stationary bootstrap (Politis and Romano 1994).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arch.bootstrap import StationaryBootstrap
from matplotlib import pyplot
from numpy.typing import NDArray
from trading_env import COST, TradingEnv

from rlbridge.learn import train

FOLDER = Path(__file__).resolve().parent
BLOCK = 20
"""Mean length of the bootstrap's blocks [days]: volatility comes in such clusters."""
YEAR = 252

Numbers = NDArray[np.float64]
Rule = Callable[[NDArray[np.float32]], Any]
"""An observation's action, [1] in [-1, 1]."""


def play(rule: Rule, period: str = "test") -> tuple[Numbers, float]:
    """The log growth of every day, and the mean part of the wealth that was traded a day."""
    env: Any = TradingEnv(period)
    observation, _ = env.reset(seed=0)
    growth, traded, done = [], 0.0, False
    while not done:
        observation, _, _, done, info = env.step(rule(observation))
        growth.append(info["growth"])
        traded += info["traded"]
    return np.array(growth), traded / len(growth)


def buy_and_hold(_: NDArray[np.float32]) -> NDArray[np.float32]:
    """Everything, always."""
    return np.ones(1, np.float32)


def chance(seed: int) -> Rule:
    """All in or all out, by the toss of a coin every day."""
    generator = np.random.default_rng(seed)
    return lambda _: np.float32(generator.integers(2, size=1) * 2.0 - 1.0)


def interval(growth: Numbers, repetitions: int) -> list[float]:
    """95 % of the mean growth [per cent a year] of series of days like these."""
    bootstrap = StationaryBootstrap(BLOCK, growth, seed=0)
    low, high = bootstrap.conf_int(lambda days: 100.0 * YEAR * days.mean(), repetitions, method="percentile").ravel()
    return [float(low), float(high)]


def summary_of(growth: Numbers, hold: Numbers, traded: float, repetitions: int) -> dict[str, Any]:
    """What is reported of a rule; growth in per cent a year, logarithmic."""
    wealth = np.exp(np.cumsum(growth))
    return {
        "growth": 100.0 * YEAR * float(growth.mean()),
        "growth_interval": interval(growth, repetitions),
        "more_than_hold": 100.0 * YEAR * float((growth - hold).mean()),
        "more_than_hold_interval": interval(growth - hold, repetitions) if np.any(growth != hold) else [0.0, 0.0],
        "volatility": 100.0 * float(growth.std() * YEAR**0.5),
        "sharpe": float(growth.mean() / growth.std() * YEAR**0.5),
        "worst_fall": 100.0 * float((wealth / np.maximum.accumulate(wealth) - 1.0).min()),
        "traded_a_day": 100.0 * traded,
    }


def trained(seed: int, steps: int) -> Rule:
    """A policy trained as run.yaml says, on the days before the split."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"env.target={FOLDER / 'trading_env.py'}:TradingEnv",
            f"algorithm.total_steps={steps}",
            f"run.seed={seed}",
            f"run.dir={folder}",
            "run.tensorboard=false",
        ]
        policy = train(FOLDER / "run.yaml", overrides, progress=False).policy
    return lambda observation: np.asarray(policy.act(observation[np.newaxis], deterministic=True))[0]


def draw(curves: dict[str, Numbers], path: Path) -> None:
    """Wealth over the test."""
    days = TradingEnv("test").market.days[-len(next(iter(curves.values()))) :]
    figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
    colours = {"buy and hold": "#c4343c", "random": "#9aa0a8"}
    for name, growth in curves.items():
        kind = name.split(",")[0]
        plain = kind in colours
        axes.plot(
            days,
            np.exp(np.cumsum(growth)),
            color=colours.get(kind, "#2c6eaa"),
            linewidth=2 if kind == "buy and hold" else 1,
            alpha=1.0 if plain else 0.5,
            label=kind if name.endswith(" 0") or "," not in name else None,
        )
    axes.set(ylabel="wealth, 1 at the end of 2013", title="The test: days that no training saw")
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, play the test, print, and write the result down."""
    parser = argparse.ArgumentParser(description="PPO against buy-and-hold and chance.")
    parser.add_argument("--seeds", type=int, default=3, help="how many training runs")
    parser.add_argument("--steps", type=int, default=200_000, help="transitions of each run")
    parser.add_argument("--repetitions", type=int, default=2_000, help="of the bootstrap")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for result.json and result.png")
    arguments = parser.parse_args()

    hold, _ = play(buy_and_hold)
    rules: dict[str, Rule] = {"buy and hold": buy_and_hold}
    rules.update({f"random, seed {seed}": chance(seed) for seed in range(arguments.seeds)})
    for seed in range(arguments.seeds):
        rules[f"PPO, seed {seed}"] = trained(seed, arguments.steps)
    curves, results = {}, {}
    for name, rule in rules.items():
        curves[name], traded = play(rule)
        results[name] = summary_of(curves[name], hold, traded, arguments.repetitions)
        result = results[name]
        low, high = result["more_than_hold_interval"]
        print(
            f"{name:16s} {result['growth']:6.1f} % a year, {result['more_than_hold']:+6.1f} [{low:+.1f}, {high:+.1f}] "
            f"against holding; Sharpe {result['sharpe']:.2f}, worst fall {result['worst_fall']:.0f} %, "
            f"traded {result['traded_a_day']:.1f} % a day",
            flush=True,
        )
    summary = {"cost": COST, "steps": arguments.steps, "days": len(hold), "rules": results}
    (arguments.out / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(curves, arguments.out / "result.png")


if __name__ == "__main__":
    main()
