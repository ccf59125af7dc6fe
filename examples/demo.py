"""Train a policy, over gRPC, on a factory simulator that lives in another process; compare it with the best fixed rule.

    make demo        (or: python examples/demo.py [--steps 100000] [--seed 0])

Leaves runs/demo with the policy's checkpoints and curve.png. Exit code 1 if the trained policy does not come out ahead.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import rlbridge
from rlbridge.learn import Run

FACTORY = Path(__file__).resolve().parent.parent / "env_servers" / "factory_line"
EPISODES = 20
SEED = 10_000  # of the evaluation episodes, which training never sees
console = Console()


def serve_factory() -> tuple[subprocess.Popen[str], str]:
    """The factory line behind a gRPC server, in a process of its own; returns it and its URL."""
    command = [sys.executable, "-m", "rlbridge", "serve", str(FACTORY), "--bind", "grpc://127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline().split()
    if not line:
        raise SystemExit(f"the server ended with exit code {server.wait()}; its message is above")
    return server, line[1]


def play(url: str, rule: Callable[[Any], Any]) -> np.ndarray:
    """Returns of the evaluation episodes [k€], all at once; the same episodes for every rule."""
    envs = rlbridge.make_vec(url, EPISODES)
    observations, _ = envs.reset(seed=SEED)
    returns = np.zeros(EPISODES)
    over = np.zeros(EPISODES, bool)
    while not over.any():  # every episode lasts the same ten days
        observations, rewards, terminated, truncated, _ = envs.step(rule(observations))
        returns += rewards
        over = terminated | truncated
    envs.close()
    return returns


def best_fixed_rule(url: str) -> tuple[int, np.ndarray]:
    """Every constant action on the evaluation episodes: the best one, and its returns."""
    env = rlbridge.make(url)
    actions = range(int(env.action_space.n))
    env.close()
    tried = {action: play(url, lambda _, action=action: np.full(EPISODES, action)) for action in actions}
    best = max(tried, key=lambda action: tried[action].mean())
    return best, tried[best]


def train(url: str, steps: int, seed: int, baseline: float) -> Run:
    """PPO as the factory's run file says, on the factory behind ``url``."""
    settings = [f"env.target={url}", f"algorithm.total_steps={steps}", f"run.seed={seed}", "run.name=demo"]
    return rlbridge.train(
        FACTORY / "run.yaml", [*settings, "run.dir=runs", "run.overwrite=true"], baseline=("best fixed rule", baseline)
    )


def main() -> int:
    """Serve, sweep, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    server, url = serve_factory()
    try:
        console.print(f"The factory line answers at [bold]{url}[/bold], in process {server.pid}.")
        console.print("The rule to beat: every fixed number of cards, each with every order of repair ...")
        action, fixed = best_fixed_rule(url)
        started = time.monotonic()
        console.print(f"Best: always action {action}, {fixed.mean():.1f} k€ in ten days. Now PPO, over gRPC:")
        run = train(url, arguments.steps, arguments.seed, fixed.mean())
        seconds = time.monotonic() - started
        trained = play(url, lambda observations: run.policy.act(observations, deterministic=True))
    finally:
        server.terminate()
        server.wait(10)

    table = Table(title=f"Return in k€ over ten days, {EPISODES} evaluation episodes")
    for column in ("", "mean", "worst", "best", "episodes won"):
        table.add_column(column, justify="right" if column else "left")
    won = int((trained > fixed).sum())
    for name, returns, wins in (("best fixed rule", fixed, EPISODES - won), ("PPO, trained over gRPC", trained, won)):
        table.add_row(name, f"{returns.mean():.1f}", f"{returns.min():.1f}", f"{returns.max():.1f}", f"{wins}")
    console.print(table)
    gain = 100 * (trained.mean() / fixed.mean() - 1)
    console.print(f"PPO is {gain:+.1f} % against the best fixed rule after {run.steps:,} steps in {seconds:.0f} s.")
    console.print(f"Learning curve: {run.dir / 'curve.png'}")
    return 0 if trained.mean() > fixed.mean() else 1


if __name__ == "__main__":
    raise SystemExit(main())
