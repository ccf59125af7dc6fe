"""What does the network cost training? PPO on CartPole, 8 environments, in this process and over gRPC on loopback.

    python benchmarks/train_over_grpc.py [--steps 32768] [--rounds 13] [--json]

The server has a process of its own; local and remote trainings take turns, with the same seed. Both must end with the
same weights to the bit, and the remote one may take at most

    local seconds + 1.1 x (vector steps x round trip)

with the round trip as the run itself measured it, the environments' own time left out (the local seconds contain
that). It is the mean of all its steps: times their number, that is what the round trips took together. The median,
which is shorter (now and then a thread is woken up late), is shown beside it. Ends with 1 if more was taken.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from served import served

from rlbridge.learn import train, weights_digest

NUM_ENVS = 8


def run(target: str, steps: int) -> dict[str, Any]:
    """Seconds, digest of the weights, vector steps and (remote) the median round trip in ms of one training."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": {"target": target, "num_envs": NUM_ENVS},
            "algorithm": {"name": "ppo", "total_steps": steps},
            "evaluation": {"every": 0},
            "checkpoint": {"every": 0},
            "run": {"dir": folder, "name": "run", "seed": 0, "tensorboard": False},
        }
        started = time.perf_counter()
        result = train(settings, progress=False)
        seconds = time.perf_counter() - started
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
    trips = {
        name: [row[f"bridge/rtt_ms_{name}"] for row in rows if f"bridge/rtt_ms_{name}" in row]
        for name in ("mean", "p50")
    }
    return {
        "seconds": seconds,
        "digest": weights_digest(result.policy),
        "vector_steps": result.steps // NUM_ENVS,
        "rtt_ms": statistics.mean(trips["mean"]) if trips["mean"] else None,
        "median_ms": statistics.median(trips["p50"]) if trips["p50"] else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=32_768, help="transitions of one training")
    parser.add_argument("--rounds", type=int, default=13)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with served("CartPole-v1") as server:
        url = server.url
        for target in ("CartPole-v1", url):  # warms up: imports, connection
            run(target, 2_048)
        pairs = [(run("CartPole-v1", arguments.steps), run(url, arguments.steps)) for _ in range(arguments.rounds)]
    # Round by round: what else the machine did meanwhile weighs on both halves of one round alike.
    rounds = []
    for local, remote in pairs:
        trips = remote["vector_steps"] * remote["rtt_ms"] / 1000.0
        rounds.append(
            {
                "local_s": local["seconds"],
                "remote_s": remote["seconds"],
                "vector_steps": remote["vector_steps"],
                "rtt_ms": remote["rtt_ms"],
                "median_ms": remote["median_ms"],
                "allowed_s": local["seconds"] + 1.1 * trips,
                "share": remote["seconds"] / (local["seconds"] + 1.1 * trips),
            }
        )
    digests = {half["digest"] for pair in pairs for half in pair}
    share = statistics.median(one["share"] for one in rounds)
    good = len(digests) == 1 and share <= 1.0
    if arguments.json:
        print(json.dumps({"rounds": rounds, "share": share, "same_weights": len(digests) == 1}))
        return 0 if good else 1
    print("  local s  remote s  vector steps  round trip ms  median ms  allowed s  remote/allowed")
    for one in rounds:
        print(
            f"{one['local_s']:9.2f} {one['remote_s']:9.2f} {one['vector_steps']:13,} {one['rtt_ms']:14.3f} "
            f"{one['median_ms']:10.3f} {one['allowed_s']:10.2f} {one['share']:15.2f}"
        )
    print(f"weights: {'the same everywhere, ' + digests.pop()[:16] if len(digests) == 1 else 'DIFFERENT'}")
    print(f"remote time is {share:.2f} of what is allowed (median; must be at most 1)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
