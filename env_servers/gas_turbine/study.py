"""Load following and automatic tuning by PPO, against the built-in controllers and what a search makes of them.

``python env_servers/gas_turbine/study.py --seeds 3`` serves the turbine over gRPC on loopback and trains as
``run.yaml`` and ``tuning.yaml`` say, once a seed each. Every rule plays the same 64 episodes, which no training saw.
Writes ``result.json`` and ``result.png``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from controllers import (
    EPISODES,
    FOLDER,
    PUBLISHED,
    SEED,
    BuiltIn,
    Played,
    SecondController,
    constant,
    play,
    searched,
    tuned_second,
)
from matplotlib import pyplot

import rlbridge
from rlbridge.learn import train

RUNS = {"load-following": "run.yaml", "tuning": "tuning.yaml"}


def train_once(task: str, seed: int, steps: int | None) -> tuple[dict[str, Any], Played]:
    """Train one seed; what it took and what it does afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"run.seed={seed}", f"run.dir={folder}", "run.tensorboard=false", "evaluation.every=0"]
        overrides += [f"algorithm.total_steps={steps}"] if steps else []
        began = time.process_time()
        with rlbridge.serve(str(FOLDER), bind="grpc://127.0.0.1:0") as server:
            run = train(FOLDER / RUNS[task], [f"env.target={server.urls[0]}/{task}", *overrides], progress=False)
        seconds = time.process_time() - began
        played = play(lambda seen: run.policy.act(seen, deterministic=True), task, SEED)
    return {"seed": seed, "cpu_seconds": round(seconds, 1), **played.described()}, played


def draw(following: dict[str, Played], tuning: dict[str, Played], path: Path) -> None:
    """The first episode of both tasks."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 6), sharex=True, layout="constrained", height_ratios=[3, 2])
    for column, (title, rules) in enumerate({"load following": following, "automatic tuning": tuning}.items()):
        for (name, played), colour in zip(rules.items(), ("#c4343c", "#9aa0a8", "#2c6eaa"), strict=True):
            trace = played.trace
            seconds = np.linspace(60.0 / len(trace["speed"]), 60.0, len(trace["speed"]))
            error = 1e3 * played.squared_error.mean()
            axes[0, column].plot(seconds, 100 * trace["speed"], color=colour, label=f"{name}: {error:.2f}")
            last = axes[1, column]
            last.plot(seconds, trace["exhaust"], color=colour)
        axes[0, column].set(title=title, ylabel="speed [%]")
        axes[0, column].legend(title="squared error, 10⁻³ s", fontsize=8)
        last.axhline(950.0, color="#e2a632", linestyle="--")
        last.set(ylabel="exhaust, measured [°F]", xlabel="seconds")
        for row in axes[:, column]:
            row.grid(alpha=0.3)
            row.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Search, train, compare, print, and write the result down."""
    parser = argparse.ArgumentParser(description="PPO against the built-in controllers.")
    parser.add_argument("--seeds", type=int, default=3, help="how many training runs of each task")
    parser.add_argument("--steps", type=int, help="transitions of each run, instead of what the run files say")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for result.json and result.png")
    arguments = parser.parse_args()

    second, gains = tuned_second(), searched()
    rules = {
        "load-following": {
            "built in": play(BuiltIn(), "load-following", SEED),
            "with a second controller": play(SecondController(*second), "load-following", SEED),
        },
        "tuning": {
            "published gains": play(constant(PUBLISHED), "tuning", SEED),
            "searched gains": play(constant(gains), "tuning", SEED),
        },
    }
    summary: dict[str, Any] = {"episodes": EPISODES, "second_controller": second, "searched_gains": gains}
    for task, fixed in rules.items():
        summary[task] = {name: played.described() for name, played in fixed.items()} | {"ppo": []}
        for name, told in summary[task].items():
            if told:
                print(f"{task}: {name}: {told}", flush=True)
        for seed in range(arguments.seeds):
            told, played = train_once(task, seed, arguments.steps)
            print(f"{task}: PPO: {told}", flush=True)
            summary[task]["ppo"].append(told)
            fixed.setdefault("PPO, seed 0", played)
    (arguments.out / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(rules["load-following"], rules["tuning"], arguments.out / "result.png")


if __name__ == "__main__":
    main()
