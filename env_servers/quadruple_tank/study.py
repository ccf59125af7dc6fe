"""PPO against Johansson's decentralised PI controllers, minimum phase.

``python env_servers/quadruple_tank/study.py --seeds 3`` serves the tanks over gRPC on loopback and trains as
``run.yaml`` says, once a seed. Both play the same 64 episodes, which no training saw. Writes ``result.json`` and
``result.png``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from decentralised_pi import EPISODES, FOLDER, DecentralisedPI, Numbers, play, swept
from matplotlib import pyplot

import rlbridge
from rlbridge.learn import train

PHASE = "minimum"


def train_once(seed: int, steps: int) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Train one seed; what it earns, and the signals of its first episode."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"algorithm.total_steps={steps}", f"run.seed={seed}", f"run.dir={folder}", "run.tensorboard=false"]
        overrides += ["evaluation.every=0"]
        began = time.process_time()
        with rlbridge.serve(str(FOLDER), bind="grpc://127.0.0.1:0") as server:
            run = train(FOLDER / "run.yaml", [f"env.target={server.urls[0]}/{PHASE}", *overrides], progress=False)
        seconds = time.process_time() - began
        returns, trace = play(lambda seen: run.policy.act(seen, deterministic=True), PHASE)
    return {"seed": seed, "cpu_seconds": round(seconds, 1), "return": float(returns.mean())}, trace


def draw(traces: dict[str, dict[str, Numbers]], path: Path) -> None:
    """The lower levels and the pumps of the first episode."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 5.5), sharex=True, layout="constrained", height_ratios=[2, 1])
    for (name, trace), colour in zip(traces.items(), ("#c4343c", "#2c6eaa"), strict=True):
        minutes = 5.0 * np.arange(1, len(trace["level1"]) + 1) / 60.0
        for i in (1, 2):
            axes[0, i - 1].plot(minutes, trace[f"level{i}"], color=colour, label=name)
            axes[1, i - 1].step(minutes, trace[f"pump{i}"], color=colour, where="post", linewidth=1)
            axes[0, i - 1].set(title=f"tank {i} [cm]")
            axes[1, i - 1].set(title=f"pump {i} [V]", xlabel="minutes")
    for i in (1, 2):
        axes[0, i - 1].step(
            minutes, trace[f"set_point{i}"], color="black", linestyle=":", where="post", label="set point"
        )
    axes[0, 0].legend()
    for each in axes.ravel():
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, compare, print, and write the result down."""
    parser = argparse.ArgumentParser(description="PPO against decentralised PI.")
    parser.add_argument("--seeds", type=int, default=3, help="how many training runs")
    parser.add_argument("--steps", type=int, default=500_000, help="transitions of each run")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for result.json and result.png")
    arguments = parser.parse_args()

    returns, _ = play(DecentralisedPI(PHASE), PHASE)
    factors = swept(PHASE)
    scaled, trace = play(DecentralisedPI(PHASE, *factors), PHASE)
    traces = {"decentralised PI, scaled": trace}
    print(
        f"decentralised PI: {returns.mean():.1f}; gains and times scaled by {factors}: {scaled.mean():.1f}", flush=True
    )
    runs = []
    for seed in range(arguments.seeds):
        told, trace = train_once(seed, arguments.steps)
        print(f"PPO: {told}", flush=True)
        runs.append(told)
        traces.setdefault("PPO, seed 0", trace)
    summary = {
        "episodes": EPISODES,
        "phase": PHASE,
        "pi": float(returns.mean()),
        "scaled_pi": {"gains": factors[0], "times": factors[1], "return": float(scaled.mean())},
        "ppo": runs,
    }
    (arguments.out / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(traces, arguments.out / "result.png")


if __name__ == "__main__":
    main()
