"""A million steps through one server: does its memory grow, or its latency?

    python benchmarks/long_haul.py [--steps 1000000]

A server process; a client that steps 8 environments, half of the steps by messages of one step, half by rollouts of 128
(a policy at the server, a new one every tenth rollout), in turns. Every hundredth part of the way the server's resident
memory, its threads and the median latency of both are noted. Writes docs/long-haul.png and prints a table. Ends with 1
if memory after the last quarter is more than 2 % and 4 MiB above that after the first, or either latency has doubled.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from served import served

import rlbridge
from rlbridge.client import Rollout, RolloutPolicy
from rlbridge.config import load_config
from rlbridge.learn import Policy
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.onnx_graph import kind_of, policy_model

ROOT = Path(__file__).resolve().parent.parent
ROWS, HORIZON, PARTS = 8, 128, 100


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def policy_for(envs: Any, seed: int) -> RolloutPolicy:
    config = load_config({"algorithm": {"name": "ppo"}})
    spaces = envs.single_observation_space, envs.single_action_space
    policy = Policy(config.algorithm, config.network, *spaces, Initialiser(seed), seed)
    return RolloutPolicy(kind_of(policy), policy_model(policy), seed)


def part(envs: Any, steps: int, number: int) -> tuple[float, float]:
    """Half by messages, half by rollouts; median milliseconds of a message and of a rollout."""
    action, messages, rollouts = np.zeros(ROWS, np.int64), [], []
    for _ in range(max(steps // 2 // ROWS, 1)):
        started = time.perf_counter()
        envs.step(action)
        messages.append(time.perf_counter() - started)
    for i in range(max(steps // 2 // ROWS // HORIZON, 1)):
        if i % 10 == 0:
            policy = policy_for(envs, number * 1000 + i)
        started = time.perf_counter()
        envs.send_rollout(Rollout(HORIZON, "categorical", policy, number, i * HORIZON))
        result = envs.recv_rollout()
        for t in range(len(result)):
            result.step(t)
        rollouts.append(time.perf_counter() - started)
    return statistics.median(messages) * 1e3, statistics.median(rollouts) * 1e3


def picture(path: Path, steps: int, rows: list[tuple[float, ...]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    at = np.linspace(steps / len(rows), steps, len(rows))
    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    upper.plot(at, [row[0] for row in rows])
    upper.set_ylabel("server, MiB resident")
    upper.set_ylim(bottom=0)
    lower.plot(at, [row[2] for row in rows], label="a step of 8 by message")
    lower.plot(at, [row[3] / HORIZON for row in rows], label="a step of 8 in a rollout")
    lower.set_ylabel("ms")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("environment steps through one server")
    lower.legend()
    figure.savefig(path, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/long-haul.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[tuple[float, ...]] = []
    with served("CartPole-v1") as server:
        envs: Any = rlbridge.make_vec(server.url, ROWS, autoreset_mode="SameStep")
        envs.reset(seed=0)
        for number in range(PARTS):
            latencies = part(envs, arguments.steps // PARTS, number)
            threads = len(os.listdir(f"/proc/{server.pid}/task"))
            rows.append((resident(server.pid), threads, *latencies))
            if (number + 1) % (PARTS // 10) == 0:
                print(
                    "{:9,} steps: {:6.1f} MiB, {} threads, {:.3f} ms a message, {:.2f} ms a rollout".format(
                        (number + 1) * (arguments.steps // PARTS), *rows[-1]
                    ),
                    flush=True,
                )
        envs.close()
    picture(arguments.picture, arguments.steps, rows)
    quarter = PARTS // 4
    first, last = (
        [statistics.median(column) for column in zip(*some, strict=True)] for some in (rows[:quarter][-10:], rows[-10:])
    )
    early, late = rows[quarter - 1][0], rows[-1][0]
    grown = late > 1.02 * early and late > early + 4.0
    slower = any(late > 2.0 * early for early, late in zip(first[2:], last[2:], strict=True))
    print(
        f"memory {early:.1f} -> {late:.1f} MiB after the first quarter; latencies {first[2]:.3f} -> {last[2]:.3f} ms, "
        f"{first[3]:.2f} -> {last[3]:.2f} ms"
    )
    return int(grown or slower)


if __name__ == "__main__":
    sys.exit(main())
