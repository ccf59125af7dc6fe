"""What do two sessions in flight save? Collecting with a policy of 5 ms, and whole PPO trainings over gRPC on loopback.

    python benchmarks/sessions_in_flight.py [--rounds 3] [--steps 32768] [--json]

1. Steps/s while collecting, CartPole-v1: 256 environments in this process; 256 on a server; 512 there in two sessions
   of 256. The policy sleeps 5 ms a call, as a trainer does that waits for its accelerator.
2. Seconds of a PPO training on 64 CartPoles on a server, with ``env.sessions`` 1 and 2.

The server has a process of its own, and everything takes turns: a ratio is of one round, and the median is told. Ends
with 1 if two sessions collect less than 1.3 times what the process alone does, or if a seed trains two weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from served import served

from rlbridge.config import load_config
from rlbridge.learn import train, weights_digest
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.environments import close_envs, make_training_envs
from rlbridge.learn.learners import make_learner
from rlbridge.learn.seeds import Seeds

POLICY_SECONDS = 0.005
STEPS = 100  # of each environment in one measurement


class Collecting:
    """A collector with a policy that takes its time."""

    def __init__(self, target: str, num_envs: int, sessions: int) -> None:
        env = {"target": target, "num_envs": num_envs, "sessions": sessions}
        config = load_config({"env": env, "algorithm": {"name": "ppo", "rollout_steps": STEPS}})
        self.envs, seeds = make_training_envs(config), Seeds.from_run(0)
        spaces = self.envs.single_observation_space, self.envs.single_action_space
        learner: Any = make_learner(config, *spaces, seeds)
        forward = learner.policy.forward

        def slowly(rows: torch.Tensor) -> torch.Tensor:
            time.sleep(POLICY_SECONDS)
            outputs: torch.Tensor = forward(rows)
            return outputs

        learner.policy.forward = slowly
        self.collector, self.rollout = StepCollector(self.envs, learner.policy, seeds), learner.rollout(num_envs)

    def speed(self) -> float:
        """Steps/s, of all environments together."""
        started = time.perf_counter()
        self.collector.collect(self.rollout)
        return STEPS * self.envs.num_envs / (time.perf_counter() - started)


def collecting(url: str, rounds: int) -> dict[str, list[float]]:
    """Steps/s by what collects, round by round."""
    ways = {
        "local, 256": Collecting("CartPole-v1", 256, 1),
        "one session, 256": Collecting(url, 256, 1),
        "two sessions, 256 each": Collecting(url, 512, 2),
    }
    try:
        for way in ways.values():
            way.speed()  # warms up
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                speeds[name].append(way.speed())
    finally:
        for way in ways.values():
            close_envs(way.envs)
    return speeds


def training(url: str, sessions: int, steps: int) -> tuple[float, str]:
    """Seconds, and the digest of the weights."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": {"target": url, "num_envs": 64, "sessions": sessions},
            "algorithm": {"name": "ppo", "total_steps": steps},
            "evaluation": {"every": 0},
            "checkpoint": {"every": 0},
            "run": {"dir": folder, "name": "run", "seed": 0, "tensorboard": False},
        }
        started = time.perf_counter()
        run = train(settings, progress=False)
        return time.perf_counter() - started, weights_digest(run.policy)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32_768, help="transitions of one training")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with served("CartPole-v1") as server:
        url = server.url
        speeds = collecting(url, arguments.rounds)
        training(url, 1, 8_192)  # warms up
        rounds = [[training(url, sessions, arguments.steps) for sessions in (1, 2)] for _ in range(arguments.rounds)]
    local, one, two = speeds.values()
    overlap = statistics.median(b / a for a, b in zip(local, two, strict=True))
    saved = statistics.median(second[0] / first[0] for first, second in rounds)
    digests = [{pair[half][1] for pair in rounds} for half in (0, 1)]
    good = overlap >= 1.3 and all(len(found) == 1 for found in digests)
    result = {
        "steps_per_second": speeds,
        "two_sessions_against_local": overlap,
        "two_sessions_against_one": statistics.median(b / a for a, b in zip(one, two, strict=True)),
        "training_seconds": {"1": [pair[0][0] for pair in rounds], "2": [pair[1][0] for pair in rounds]},
        "training_two_against_one": saved,
        "same_weights_every_round": all(len(found) == 1 for found in digests),
        "same_weights_with_1_and_2": digests[0] == digests[1],
    }
    if arguments.json:
        print(json.dumps(result))
        return 0 if good else 1
    for name, found in speeds.items():
        print(f"{name:24s} {statistics.median(found):9,.0f} steps/s   rounds: {', '.join(f'{x:,.0f}' for x in found)}")
    print(f"two sessions collect {overlap:.2f} x what this process does without overlap (must be at least 1.3)")
    for sessions, seconds in result["training_seconds"].items():  # type: ignore[attr-defined]
        print(f"training, {sessions} session(s): {', '.join(f'{x:.1f}' for x in seconds)} s")
    print(f"two sessions take {saved:.2f} x the time of one; weights: ", end="")
    print("the same every time" if result["same_weights_every_round"] else "DIFFERENT FROM TIME TO TIME", end="")
    print(", and with 1 and 2 sessions" if result["same_weights_with_1_and_2"] else ", others with 1 than with 2")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
