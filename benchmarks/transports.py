"""One environment over each transport of one server: steps a second over gRPC, HTTP (WebSocket) and a unix socket.

    python benchmarks/transports.py [--rounds 11] [--steps 1000] [--env CartPole-v1] [--json]

The server runs in a process of its own and offers all three; the client runs here. Rounds are interleaved, the figures
are medians, the ratios are to gRPC.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import rlbridge


def run(env: Any, steps: int) -> float:
    """Steps a second."""
    started = time.perf_counter()
    for i in range(steps):
        _, _, terminated, truncated, _ = env.step(i % 2)
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--env", default="CartPole-v1", help="one whose actions are 0 and 1")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        binds = ["grpc://127.0.0.1:0", "http://127.0.0.1:0", f"unix://{folder}/env.sock"]
        command = [sys.executable, "-m", "rlbridge", "serve", arguments.env]
        for bind in binds:
            command += ["--bind", bind]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            urls = [server.stdout.readline().split()[1] for _ in binds]
            envs = {url.partition(":")[0]: rlbridge.make(url) for url in urls}
            rates: dict[str, list[float]] = {name: [] for name in envs}
            for env in envs.values():
                env.reset(seed=0)
            for _ in range(arguments.rounds + 1):  # the first round warms up
                for name, env in envs.items():
                    rates[name].append(run(env, arguments.steps))
            for env in envs.values():
                env.close()
        finally:
            server.terminate()
            server.wait(10)
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    if arguments.json:
        ratios = {name: rate / medians["grpc"] for name, rate in medians.items()}
        print(json.dumps({"steps_per_second": medians, "ratio": ratios}))
        return
    for name, rate in medians.items():
        print(f"{name:5} {rate:8.0f} steps/s   {rate / medians['grpc']:5.2f} of gRPC")


if __name__ == "__main__":
    main()
