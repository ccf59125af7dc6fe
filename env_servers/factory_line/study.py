"""What does PPO earn against the best fixed rule, and how sure is that? Writes ``result.json`` and ``result.png``.

``python env_servers/factory_line/study.py --seeds 5`` trains as ``run.yaml`` says, with the environments in this
process, once a seed, and plays every rule on the same evaluation episodes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from baseline import SEED, FixedRule, best_fixed, half_width, play
from matplotlib import pyplot
from numpy.typing import NDArray
from timetable import Timetable, best_timetable

from rlbridge.learn import Policy, train

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Trained:
    """One training run."""

    seed: int
    seconds: float
    """Wall time of training, its evaluations included."""
    curve: list[tuple[int, float]]
    """(transitions so far, mean return of an evaluation while training [k€])."""
    returns: list[float]
    """On the evaluation episodes, at the end of training [k€]."""


def train_once(seed: int, steps: int, episodes: int, runs: Path) -> Trained:
    """Train with ``run.yaml``'s settings, the environments in this process instead of behind a server."""
    began = time.perf_counter()
    run = train(
        FOLDER / "run.yaml",
        [
            f"env.target={FOLDER / 'env.py'}:FactoryLineEnv",
            f"algorithm.total_steps={steps}",
            f"run.seed={seed}",
            f"run.dir={runs}",
            f"run.name=seed{seed}",
            "run.tensorboard=false",
            "evaluation.every=10_000",
            "evaluation.episodes=16",
        ],
        progress=False,
    )
    seconds = time.perf_counter() - began
    returns = play(lambda observation: act(run.policy, observation), episodes, SEED)
    return Trained(seed, seconds, read_curve(run.dir / "metrics.jsonl"), returns.tolist())


def act(policy: Policy, observation: NDArray[np.float32]) -> int:
    """The policy's deterministic action."""
    return int(np.asarray(policy.act(observation[np.newaxis], deterministic=True)).item())


def read_curve(metrics: Path) -> list[tuple[int, float]]:
    """The evaluations that a run wrote down."""
    lines = map(json.loads, metrics.read_text().splitlines())
    return [(line["step"], line["eval/return_mean"]) for line in lines if "eval/return_mean" in line]


def summarise(
    fixed: FixedRule, table: Timetable, table_returns: NDArray[np.float64], runs: list[Trained]
) -> dict[str, Any]:
    """The numbers of the README: returns in k€ over 10 days, improvements in per cent of the fixed rule's."""
    means = np.array([np.mean(run.returns) for run in runs])
    improvements = 100.0 * (means / fixed.mean_return - 1.0)
    return {
        "episodes": len(fixed.returns),
        "fixed": {"cap": fixed.cap, "first": fixed.first, "action": fixed.action, "return": fixed.mean_return},
        "timetable": {**asdict(table), "return": float(table_returns.mean())},
        "ppo": {"return": float(means.mean()), "return_half_width": half_width(means)},
        "improvement_percent": float(improvements.mean()),
        "improvement_half_width": half_width(improvements),
        "improvement_worst_seed": float(improvements.min()),
        "episodes_won_percent": 100.0 * float(np.mean([np.array(run.returns) > fixed.returns for run in runs])),
        "runs": [
            {"seed": run.seed, "return": float(mean), "seconds": round(run.seconds, 1), "curve": run.curve}
            for run, mean in zip(runs, means, strict=True)
        ],
    }


def draw(summary: dict[str, Any], path: Path) -> None:
    """Learning curves beside the rules they are measured against."""
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4), width_ratios=[2.2, 1], sharey=True, layout="constrained"
    )
    fixed, timetable, ppo = summary["fixed"], summary["timetable"], summary["ppo"]
    curves = [np.array(run["curve"]) for run in summary["runs"]]
    for curve in curves:
        left.plot(curve[:, 0] / 1000, curve[:, 1], color="#2c6eaa", alpha=0.3, linewidth=1)
    left.plot(
        curves[0][:, 0] / 1000, np.mean([curve[:, 1] for curve in curves], axis=0), color="#2c6eaa", linewidth=2.5
    )
    left.axhline(fixed["return"], color="#c4343c", linestyle="--")
    label = f"best fixed rule: {fixed['cap']} cards"
    left.text(left.get_xlim()[1], fixed["return"] - 1, label, color="#c4343c", ha="right", va="top")
    left.set(
        xlabel="environment steps [thousand]",
        ylabel="return [k€ in 10 days]",
        title=f"PPO, {len(curves)} seeds (thin) and their mean",
    )
    names = [f"fixed\n{fixed['cap']} cards", "timetable\nby hand", "PPO"]
    heights = [fixed["return"], timetable["return"], ppo["return"]]
    bars = right.bar(names, heights, color=["#c4343c", "#9aa0a8", "#2c6eaa"], width=0.65)
    right.errorbar([2], [ppo["return"]], [ppo["return_half_width"]], color="black", capsize=5)
    right.bar_label(bars, fmt="%.1f", padding=6)
    right.set(title=f"PPO {summary['improvement_percent']:+.1f} ± {summary['improvement_half_width']:.1f} %")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, compare, print, and write the result down."""
    parser = argparse.ArgumentParser(description="PPO against the best fixed rule, over seeds.")
    parser.add_argument("--seeds", type=int, default=5, help="how many training runs")
    parser.add_argument("--steps", type=int, default=100_000, help="transitions of each run")
    parser.add_argument("--episodes", type=int, default=50, help="evaluation episodes")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for result.json and result.png")
    arguments = parser.parse_args()

    fixed = best_fixed(arguments.episodes, SEED)
    print(f"Best fixed rule: {fixed.cap} cards, {fixed.first} repaired first: {fixed.mean_return:.1f} k€", flush=True)
    table = best_timetable()
    table_returns = play(table, arguments.episodes, SEED)
    print(f"{table}: {table_returns.mean():.1f} k€", flush=True)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            runs.append(train_once(seed, arguments.steps, arguments.episodes, Path(folder)))
            print(f"PPO seed {seed}: {np.mean(runs[-1].returns):.1f} k€ ({runs[-1].seconds:.0f} s)", flush=True)

    summary = summarise(fixed, table, table_returns, runs)
    gain = f"{summary['improvement_percent']:.1f} ± {summary['improvement_half_width']:.1f} %"
    print(f"PPO earns {gain} more than the best fixed rule (95 % interval over {len(runs)} seeds),")
    print(f"the worst seed {summary['improvement_worst_seed']:.1f} %.")
    print(f"It earns more in {summary['episodes_won_percent']:.0f} % of the episodes.")
    (arguments.out / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(summary, arguments.out / "result.png")


if __name__ == "__main__":
    main()
