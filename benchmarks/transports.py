"""The same environments over each transport of one server, beside Gymnasium's own ways of holding several.

    python benchmarks/transports.py [--rounds 31] [--seconds 0.1] [--env CartPole-v1] [--json]

One environment and a batch of 8, over gRPC (TCP and a unix socket), HTTP (a WebSocket) and shared memory. The server
runs in a process of its own and offers all of them; the client runs here. In the same rounds: Gymnasium's
``SyncVectorEnv`` and ``AsyncVectorEnv`` of 8 in this process and its children. "native" is the environment's own batch
(``vectorization: native`` in a serve.yaml), where it has one. Rounds are interleaved; figures are medians, and the best
round, of steps of single environments a second; ratios of medians are to ``AsyncVectorEnv`` for batches, and to gRPC
for one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import rlbridge

N = 8


def one(env: Any, seconds: float) -> float:
    """Steps a second of a single environment."""
    started = time.perf_counter()
    steps = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        for i in range(20):
            _, _, terminated, truncated, _ = env.step(i % 2)
            if terminated or truncated:
                env.reset()
        steps += 20
    return steps / elapsed


def batch(envs: Any, seconds: float) -> float:
    """Steps of single environments a second, of a batch of N."""
    actions = np.random.default_rng(0).integers(0, 2, (20, N))
    started = time.perf_counter()
    steps = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        for action in actions:
            envs.step(action)
        steps += 20 * N
    return steps / elapsed


def opened(urls: list[str], name: str) -> dict[str, tuple[Any, Any]]:
    """What is measured: the environment or batch, and how."""
    names = {url: url.partition(":")[0] for url in urls}
    measured: dict[str, tuple[Any, Any]] = {f"1 over {names[url]}": (rlbridge.make(url), one) for url in urls}
    measured.update({f"{N} over {names[url]}": (rlbridge.make_vec(url, N), batch) for url in urls})

    def make() -> Any:
        return gymnasium.make(name)

    shm = next(url for url in urls if url.startswith("shm"))
    measured[f"{N} native over shm"] = (rlbridge.make_vec(f"{shm}?env=native", N), batch)
    measured[f"{N} in SyncVectorEnv"] = (SyncVectorEnv([make] * N), batch)
    measured[f"{N} in AsyncVectorEnv"] = (AsyncVectorEnv([make] * N), batch)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement in each round")
    parser.add_argument("--env", default="CartPole-v1", help="one whose actions are 0 and 1")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        binds = ["grpc://127.0.0.1:0", "http://127.0.0.1:0", f"unix://{folder}/env.sock", f"shm://{folder}/memory.sock"]
        offers = [{"env": arguments.env}, {"env": arguments.env, "name": "native", "vectorization": "native"}]
        Path(folder, "serve.yaml").write_text(json.dumps({"envs": offers}))
        command = [sys.executable, "-m", "rlbridge", "serve", folder]
        for bind in binds:
            command += ["--bind", bind]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            measured = opened([server.stdout.readline().split()[1] for _ in binds], arguments.env)
            rates: dict[str, list[float]] = {name: [] for name in measured}
            for env, _ in measured.values():
                env.reset(seed=0)
            for _ in range(arguments.rounds + 1):  # the first round warms up
                for name, (env, measure) in measured.items():
                    rates[name].append(measure(env, arguments.seconds))
            for env, _ in measured.values():
                env.close()
        finally:
            server.terminate()
            server.wait(10)
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    references = {str(N): f"{N} in AsyncVectorEnv", "1": "1 over grpc"}
    ratios = {name: rate / medians[references[name.split()[0]]] for name, rate in medians.items()}
    best = {name: max(values) for name, values in rates.items()}
    if arguments.json:
        print(json.dumps({"steps_per_second": medians, "best": best, "ratio": ratios}))
        return
    for name, rate in medians.items():
        print(
            f"{name:20} {rate:8.0f} steps/s (best round {best[name]:7.0f})   "
            f"{ratios[name]:5.2f} of {references[name.split()[0]]}"
        )


if __name__ == "__main__":
    main()
