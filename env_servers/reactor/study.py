"""Training from scratch on a reactor that can explode: with the gate, without it, and against a tuned PI controller.

``python env_servers/reactor/study.py --seeds 3`` serves the reactor over gRPC on loopback, trains as ``run.yaml`` says,
once a seed, and keeps the gate's audit of the whole training: the highest temperature comes from there, every step of
it counted. Once more, with the first seed, the interlock is taken out. Writes ``result.json`` and ``result.png``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib import pyplot
from pi_control import EPISODES, FOLDER, PI, SEED, Gains, Played, play, tuned

import rlbridge
from rlbridge.learn import train
from rlbridge.plants.audit import records

INTERLOCK = 340.0
"""As in serve.yaml [K]."""


def serve_file(folder: Path, interlock: bool) -> Path:
    """A copy of serve.yaml that keeps an audit, with or without the interlock."""
    settings = yaml.safe_load((FOLDER / "serve.yaml").read_text())
    settings["env"] = f"{FOLDER / 'reactor.py'}:Reactor"
    settings["task"]["reward"] = f"{FOLDER / 'task.py'}:reward"
    settings["gate"]["audit"] = "audit.jsonl"
    if not interlock:
        settings["gate"]["interlocks"] = []
    folder.mkdir()
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train_once(seed: int, steps: int, interlock: bool) -> tuple[dict[str, Any], Played]:
    """Train on a server whose gate is ``interlock``ed or not; what the audit says of it, and the policy's episodes."""
    with tempfile.TemporaryDirectory() as folder:
        file = serve_file(Path(folder) / "plant", interlock)
        overrides = [f"algorithm.total_steps={steps}", f"run.seed={seed}", f"run.dir={folder}", "run.tensorboard=false"]
        # A plant has one writer: nobody evaluates beside the training.
        overrides += ["evaluation.every=0", "checkpoint.every=0"]
        began = time.process_time()
        with rlbridge.serve(str(file), bind="grpc://127.0.0.1:0") as server:
            run = train(FOLDER / "run.yaml", [f"env.target={server.urls[0]}", *overrides], progress=False)
        seconds = time.process_time() - began
        audited = temperatures(file.parent / "audit.jsonl")
        played = play(lambda seen: run.policy.act(seen, deterministic=True), SEED)
    above = audited > INTERLOCK + 3.0
    told = {
        "seed": seed,
        "interlock": interlock,
        "cpu_seconds": round(seconds, 1),
        "plant_steps": int(audited.size),
        "highest_temperature": float(audited.max()),
        "steps_above_343": int(above.sum()),
        "return": float(played.returns.mean()),
        "highest_temperature_after": played.peak,
    }
    return told, played


def temperatures(audit: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[T, N]: the highest temperature between every two readings of the training, as the audit has it [K].

    Raises:
        AuditBroken: its chain of hashes does not hold.
    """
    return np.array([record["seen"]["peak"] for record in records(audit) if record.get("event") == "act"])


def draw(summary: dict[str, Any], rules: dict[str, Played], path: Path) -> None:
    """An episode of the policy and of the PI controller; the trainings' temperatures."""
    figure, axes = pyplot.subplots(2, 1, figsize=(10, 6), sharex=True, layout="constrained", height_ratios=[2, 1])
    colours = dict(zip(rules, ("#2c6eaa", "#c4343c"), strict=True))
    for name, played in rules.items():
        minutes = 0.05 * np.arange(len(played.traces["temperature"]))
        label = f"{name}: {played.returns.mean():.1f}"
        axes[0].plot(minutes, played.traces["temperature"], color=colours[name], label=label)
        axes[1].step(minutes, played.traces["coolant"], color=colours[name], where="post", linewidth=1)
    first = next(iter(rules.values())).traces
    axes[0].step(minutes, first["set_point"], color="black", linestyle=":", where="post", label="set point")
    axes[0].axhline(INTERLOCK, color="#e2a632", linestyle="--")
    axes[0].text(0.1, INTERLOCK - 1.2, "interlock", color="#a87510")
    gated = max(run["highest_temperature"] for run in summary["runs"])
    free = summary["without_interlock"]["highest_temperature"]
    axes[0].set(
        ylabel="reactor [K]",
        title=f"Hottest moment of the whole training: {gated:.1f} K behind the gate, {free:.0f} K without interlock",
    )
    axes[0].legend(title="mean return")
    axes[1].set(ylabel="coolant [K]", xlabel="minutes")
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Tune, train, compare, print, and write the result down."""
    parser = argparse.ArgumentParser(description="PPO behind the gate, without it, and against PI.")
    parser.add_argument("--seeds", type=int, default=3, help="how many training runs behind the gate")
    parser.add_argument("--steps", type=int, default=200_000, help="transitions of each run")
    parser.add_argument("--rounds", type=int, default=2, help="of refining the controllers' gains")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for result.json and result.png")
    arguments = parser.parse_args()

    controllers = {}
    for name, feed_forward in (("PI", False), ("PI and feed-forward", True)):
        gains, _ = tuned(feed_forward, arguments.rounds)
        played = play(PI(gains), SEED)
        controllers[name] = (gains, played)
        print(f"{name}, {gains}: {played.returns.mean():.1f}, at most {played.peak:.1f} K", flush=True)
    runs, policies = [], []
    for seed in range(arguments.seeds):
        told, played = train_once(seed, arguments.steps, interlock=True)
        runs.append(told)
        policies.append(played)
        print(line(told), flush=True)
    free, _ = train_once(0, arguments.steps, interlock=False)
    print(line(free), flush=True)

    summary = {
        "episodes": EPISODES,
        "interlock": INTERLOCK,
        "controllers": {name: described(gains, played) for name, (gains, played) in controllers.items()},
        "runs": runs,
        "without_interlock": free,
    }
    (arguments.out / "result.json").write_text(json.dumps(summary, indent=2) + "\n")
    shown = {"PPO, seed 0": policies[0], "PI and feed-forward": controllers["PI and feed-forward"][1]}
    draw(summary, shown, arguments.out / "result.png")


def line(told: dict[str, Any]) -> str:
    """A run in words."""
    where = "behind the gate" if told["interlock"] else "without the interlock"
    return (
        f"PPO seed {told['seed']} {where}: at most {told['highest_temperature']:.2f} K in {told['plant_steps']} steps "
        f"of training, {told['steps_above_343']} of them above 343 K; then {told['return']:.1f}, at most "
        f"{told['highest_temperature_after']:.1f} K ({told['cpu_seconds']:.0f} s of CPU)"
    )


def described(gains: Gains, played: Played) -> dict[str, Any]:
    """A controller's line of the table."""
    return {**vars(gains), "return": float(played.returns.mean()), "highest_temperature": played.peak}


if __name__ == "__main__":
    main()
