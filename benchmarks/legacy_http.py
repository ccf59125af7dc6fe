"""Does DQN learn CartPole over the first generation's HTTP wire? Serves examples/legacy_http, trains, evaluates.

    python benchmarks/legacy_http.py [--seed S] [key=value ...]

Prints one JSON object: the return on the wire, where every episode begins in the same state, and over 100 episodes of
CartPole-v1, which the policy has not seen, with its random beginnings. Ends with 1 if the first is below 195.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gymnasium
import numpy as np

from rlbridge.learn import train
from rlbridge.learn.policy import Policy
from rlbridge.plants.drivers.legacy_http import LegacyHttpEnv

HOME = Path(__file__).resolve().parent.parent / "examples/legacy_http"
THRESHOLD = 195.0


@contextmanager
def served() -> Iterator[str]:
    """The URL of a fresh server process: its pole stands in the initial state."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, HOME / "server.py", str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="key=value, as for rlbridge train")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with served() as url:
            started = time.perf_counter()
            settings = [f"env.kwargs.url={url}", f"run.dir={folder}", f"run.seed={arguments.seed}"]
            run = train(HOME / "run.yaml", [*settings, *arguments.overrides], progress=False)
            seconds = time.perf_counter() - started
        with served() as url:
            env = LegacyHttpEnv(url, initial_state=[0, 0, 0, 0], actions=2)
            on_the_wire = episode(env, run.policy)
            env.close()
    cartpole = gymnasium.make("CartPole-v1")
    elsewhere = [episode(cartpole, run.policy, 10_000 + i) for i in range(100)]
    result = {
        "seed": arguments.seed,
        "steps": run.steps,
        "seconds": round(seconds, 1),
        "return_on_the_wire": on_the_wire,
        "return_mean_cartpole": float(np.mean(elsewhere)),
    }
    print(json.dumps(result))
    return int(on_the_wire < THRESHOLD)


def episode(env: gymnasium.Env, policy: Policy, seed: int | None = None) -> float:
    """The return of one deterministic episode."""
    state, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = policy.act(state, deterministic=True)
        state, reward, terminated, truncated, _ = env.step(action)
        total, over = total + reward, terminated or truncated
    return total


if __name__ == "__main__":
    raise SystemExit(main())
