"""Does it learn? Trains the run files of examples/runs and compares the final policies' returns with their thresholds.

    python benchmarks/learn.py                                  every goal but those that take hours
    python benchmarks/learn.py cartpole_dqn --seeds 0 1 2       one of them
    python benchmarks/learn.py bipedal_walker_sac               hours
    python benchmarks/learn.py --list

Each finished run leaves a file in benchmarks/results, so a command that was interrupted goes on where it stopped (those
that take hours in the middle of a run, from their last checkpoint in runs/learn); a run whose settings have changed
since is done again, and ``--again`` does all again. docs/learning-results.md is written
anew after every run. Ends with 1 if a mean over the seeds misses its threshold, or a run did not finish.

Every figure is of the policy as it was at the end of training (never the best one on the way), over 100 deterministic
episodes whose seed the run did not use. A goal called ``..._stays`` goes on for 100,000 transitions after its
evaluation first reached 475, and counts the lowest evaluation on that way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EPISODES = 100
SOLVED, STAY_FOR = 475.0, 100_000


@dataclass(frozen=True)
class Goal:
    """What a run must reach.

    Attributes:
        threshold: of the mean return over the seeds.
        run: the run file's stem in examples/runs.
        overrides: changes to it, as on the command line.
        stays: whether the lowest evaluation counts, from the first that reached ``SOLVED``, for ``STAY_FOR`` steps.
        seeds: how many it takes.
        hours: not among those that run unless named; has a folder in runs/learn while it goes on.
    """

    threshold: float
    run: str | None = None
    overrides: tuple[str, ...] = ()
    stays: bool = False
    seeds: int = 3
    hours: bool = False


_STAYS = ("algorithm.total_steps=200_000", "evaluation.every=10_000", "evaluation.episodes=20")
_LONG_DQN = (
    "algorithm.n_step=10",
    "algorithm.learning_rate=5e-4",
    "network.initialisation=uniform",
    "algorithm.replay_size=200_000",
)
GOALS = {
    "cartpole_ppo": Goal(475.0, "cartpole_ppo"),
    "cartpole_ppo_defaults": Goal(475.0, None, ("algorithm.name=ppo", "algorithm.total_steps=100_000")),
    "cartpole_ppo_stays": Goal(450.0, "cartpole_ppo", _STAYS, stays=True),
    "cartpole_dqn": Goal(475.0, "cartpole_dqn"),
    "cartpole_dqn_defaults": Goal(475.0, None, ("algorithm.name=dqn", "algorithm.total_steps=50_000")),
    "cartpole_dqn_stays": Goal(450.0, "cartpole_dqn", (*_STAYS, *_LONG_DQN), stays=True),
    "acrobot_dqn": Goal(-100.0, "acrobot_dqn"),
    "pendulum_ddpg": Goal(-160.0, "pendulum_ddpg"),
    "pendulum_td3": Goal(-160.0, "pendulum_td3"),
    "pendulum_sac": Goal(-160.0, "pendulum_sac"),
    "mountain_car_continuous_td3": Goal(90.0, "mountain_car_continuous_td3"),
    "lunar_lander_dqn": Goal(150.0, "lunar_lander_dqn"),
    "lunar_lander_ppo": Goal(240.0, "lunar_lander_ppo"),
    "lunar_lander_continuous_sac": Goal(200.0, "lunar_lander_continuous_sac", seeds=1, hours=True),
    "bipedal_walker_sac": Goal(300.0, "bipedal_walker_sac", seeds=1, hours=True),
}


def settings_of(goal: Goal, seed: int, fraction: float) -> Any:
    """The run, resolved; evaluations cost no time but where the goal asks for them."""
    from rlbridge.config import load_config

    source = ROOT / f"examples/runs/{goal.run}.yaml" if goal.run else None
    quiet = ("evaluation.every=0", "evaluation.num_envs=10", "checkpoint.every=0", "run.tensorboard=false")
    if goal.hours:
        quiet = ("evaluation.num_envs=10", "checkpoint.keep=1", f"run.dir={ROOT / 'runs/learn'}")
    config = load_config(source, [*quiet, *goal.overrides, f"run.seed={seed}"])
    if fraction < 1.0:
        config.algorithm.total_steps = max(int(config.algorithm.total_steps * fraction), 1)
    return config


def run(goal: Goal, config: Any, again: bool) -> dict[str, Any]:
    """Train once and play ``EPISODES`` episodes with the result; what is worth keeping.

    Raises:
        KeyboardInterrupt: training was asked to end.
    """
    from rlbridge.learn import Stopped, resume, train

    evaluations: list[tuple[int, float]] = []

    def watch(step: int, metrics: Mapping[str, float]) -> None:
        if goal.stays and "eval/return_mean" in metrics:
            evaluations.append((step, metrics["eval/return_mean"]))
            solved = next((at for at, value in evaluations if value >= SOLVED), None)
            if solved is not None and step >= solved + STAY_FOR:
                raise Stopped("stayed")

    progress = None if sys.stderr.isatty() else False
    with tempfile.TemporaryDirectory() as temporary:
        if not goal.hours:
            config.run.dir = temporary
        folder = Path(config.run.dir, config.run.name)
        if folder.is_dir() and (again or not same_settings(settings_in(folder), settings(config))):
            shutil.rmtree(folder)
        if folder.is_dir():
            result = resume(folder, progress=progress, callback=watch)
        else:
            result = train(config, progress=progress, callback=watch)
        seconds = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["seconds"]
        if str(result.stop_reason).startswith("SIG"):
            raise KeyboardInterrupt
        returns = result.evaluate(EPISODES).returns
    return {
        "environment": config.env.target,
        "algorithm": config.algorithm.name,
        "steps": result.steps,
        "seconds": round(seconds, 1),
        "return_mean": round(sum(returns) / len(returns), 2),
        "returns": [round(value, 2) for value in returns],
        **({"evaluations": [[step, round(value, 2)] for step, value in evaluations]} if goal.stays else {}),
    }


def settings(config: Any) -> dict[str, Any]:
    """What a result depends on beside the code, the machine and the seed."""
    return dict(config.model_dump(mode="json", exclude={"run"}))


def settings_in(folder: Path) -> dict[str, Any]:
    """Those of a run that has begun."""
    from rlbridge.config import load_config

    return settings(load_config(folder / "config.yaml"))


def score(goal: Goal, result: Mapping[str, Any]) -> float:
    """The figure that the threshold is for; minus infinity where a run that must stay solved never was."""
    if not goal.stays:
        return float(result["return_mean"])
    values = [value for _, value in result["evaluations"]]
    solved = next((i for i, value in enumerate(values) if value >= SOLVED), None)
    return float("-inf") if solved is None else float(min(values[solved:]))


class Results:
    """One file for each run that finished, ``<goal>-<seed>.json``, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, seed: int) -> Path:
        return self.folder / f"{name}-{seed}.json"

    def read(self, name: str, seed: int) -> dict[str, Any] | None:
        """None if there is none."""
        path = self.path(name, seed)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write(self, name: str, seed: int, result: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.path(name, seed).with_suffix(".draft")
        text = json.dumps({"goal": name, "seed": seed, **result}, indent=1)
        # A list of numbers belongs on one line.
        draft.write_text(_flat_lists(text) + "\n", encoding="utf-8")
        os.replace(draft, self.path(name, seed))

    def of(self, name: str) -> list[dict[str, Any]]:
        """All of a goal's, by seed."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob(f"{name}-*.json")]
        return sorted(found, key=lambda result: result["seed"])


def same_settings(old: Any, new: Any) -> bool:
    """Whether nothing that both know differs: a setting that was added since keeps what was measured."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(same_settings(old[key], new[key]) for key in old.keys() & new.keys())
    return bool(old == new)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the settings."""
    import torch

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "unknown",
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def page(results: Results) -> str:
    """docs/learning-results.md."""
    rows, machines = [], []
    for name, goal in GOALS.items():
        found = results.of(name)
        if not found:
            continue
        for result in found:
            about = result["machine"]
            text = "{cpu}, {cores} cores, Python {python}, torch {torch}, {date}, commit {commit}".format(**about)
            if text not in machines:
                machines.append(text)
            result["note"] = machines.index(text) + 1
        scores = [score(goal, result) for result in found]
        mean = sum(scores) / len(scores)
        rows.append(
            [
                f"`{name}`",
                found[0]["environment"],
                found[0]["algorithm"].upper(),
                ", ".join(f"{steps:,}" for steps in sorted({result["steps"] for result in found})),
                " · ".join(f"{value:.1f}" for value in scores),
                f"**{mean:.1f}**",
                f"{goal.threshold:g}" + ("" if reached(goal, found) else f" **{_lacking(goal, found)}**"),
                " · ".join(f"{result['seconds']:.0f}" for result in found),
                ", ".join(sorted({str(result["note"]) for result in found})),
            ]
        )
    header = ["run", "environment", "algorithm", "steps", "return per seed", "mean", "must", "seconds", "where"]
    table = [header, ["---"] * len(header), *rows]
    text = [
        "# Learning results",
        "",
        "Written by `python benchmarks/learn.py` (`make learn`); each run is in `benchmarks/results`.",
        "",
        f"Returns are means over {EPISODES} deterministic episodes, with a seed that no run used, of the policy "
        "as it was at the end of training: never of the best one on the way. Steps count transitions. Run files are in "
        "`examples/runs`; runs called `..._defaults` name only the algorithm and the steps. For those called "
        "`..._stays` the figure is the lowest of all evaluations (20 episodes, every 10,000 steps) from the first that "
        f"reached {SOLVED:g} until {STAY_FOR:,} steps later.",
        "",
        *("| " + " | ".join(row) + " |" for row in table),
        "",
        *(f"{number}. {text}" for number, text in enumerate(machines, 1)),
        "",
    ]
    return "\n".join(text)


def reached(goal: Goal, found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether enough seeds were run and their mean is where it must be; where runs must stay solved, each of them."""
    scores = [score(goal, result) for result in found]
    if len(scores) < goal.seeds:
        return False
    return (min(scores) if goal.stays else sum(scores) / len(scores)) >= goal.threshold


def _lacking(goal: Goal, found: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(found)} of {goal.seeds} seeds done" if len(found) < goal.seeds else "missed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goals", nargs="*", help="which; all but those that take hours if none is named")
    parser.add_argument("--seeds", nargs="+", type=int, help="by default 0, 1, 2, or 0 where one is enough")
    parser.add_argument("--again", action="store_true", help="do again what was done already")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--fraction", type=float, default=1.0, help="of each run's steps, to see whether it works")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/learning-results.md")
    arguments = parser.parse_args()
    if arguments.list:
        for name, goal in GOALS.items():
            print(f"{name:30} >= {goal.threshold:g}{'   hours' if goal.hours else ''}")
        return 0
    unknown = [name for name in arguments.goals if name not in GOALS]
    if unknown:
        parser.error(f"no goal is called {unknown[0]!r}; there are {', '.join(GOALS)}")
    names = arguments.goals or [name for name, goal in GOALS.items() if not goal.hours]
    results, where = Results(arguments.results), machine()
    missed = []
    for name in names:
        goal = GOALS[name]
        for seed in arguments.seeds or range(goal.seeds):
            config = settings_of(goal, seed, arguments.fraction)
            config.run.name = f"{name}-{seed}"
            old = results.read(name, seed)
            if old is not None and not arguments.again and same_settings(old["settings"], settings(config)):
                print(f"{name} seed {seed}: done already, {score(goal, old):.1f}", flush=True)
                continue
            result = run(goal, config, arguments.again)
            results.write(name, seed, {**result, "machine": where, "settings": settings(config)})
            shutil.rmtree(Path(config.run.dir, config.run.name), ignore_errors=True)
            print(f"{name} seed {seed}: {score(goal, result):.1f} in {result['seconds']:.0f} s", flush=True)
            arguments.page.write_text(page(results), encoding="utf-8")
        if not reached(goal, results.of(name)):
            missed.append(name)
    arguments.page.write_text(page(results), encoding="utf-8")
    for name in missed:
        goal = GOALS[name]
        lacking = _lacking(goal, results.of(name))
        print(f"{name} must reach {goal.threshold:g}: {lacking}, see {arguments.page}", file=sys.stderr)
    return 1 if missed else 0


def _flat_lists(text: str) -> str:
    """Indented JSON with each list of numbers on one line."""
    out, depth = [], 0
    for line in text.splitlines():
        if depth:
            out[-1] += line.strip() + (" " if line.endswith(",") else "")
        else:
            out.append(line)
        depth += line.count("[") - line.count("]")
    return "\n".join(out)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
