"""One environment over rlbridge against a plain grpcio bidirectional stream with the same bytes and environment.

    python benchmarks/stream_floor.py [--rounds 11] [--steps 1000] [--json]

Both servers run in processes of their own and step CartPole-v1; both clients run here. The plain stream moves raw
bytes with grpcio's public API and does nothing else: no numbers, no checks, no spaces. Rounds are interleaved, the
figure is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import gymnasium
import numpy as np

import rlbridge

METHOD = "/floor.Floor/Exchange"


def floor_server(request_bytes: int, response_bytes: int) -> None:
    """Serve the plain stream: the action is the request's first byte, the observation leads the response."""

    def exchange(requests: Any, context: Any) -> Any:
        env = gymnasium.make("CartPole-v1")
        env.reset(seed=0)
        padding = bytes(response_bytes)
        for request in requests:
            observation, _, terminated, truncated, _ = env.step(np.int64(request[0]))
            if terminated or truncated:
                env.reset()
            yield (observation.tobytes() + padding)[:response_bytes]

    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {"Exchange": grpc.stream_stream_rpc_method_handler(exchange)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor.Floor", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving grpc://127.0.0.1:{port}", flush=True)
    sys.stdin.read()  # until the parent closes the pipe
    server.stop(0)


def start(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    """Start a server that prints ``serving <url>`` and ends when its stdin does."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[1]


def floor_client(url: str, request_bytes: int) -> Callable[[int], None]:
    channel = grpc.insecure_channel(url.removeprefix("grpc://"))
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    answers = channel.stream_stream(METHOD)(iter(requests.get, None))
    payloads = [bytes([action]) + bytes(request_bytes - 1) for action in (0, 1)]

    def run(steps: int) -> None:
        for i in range(steps):
            requests.put(payloads[i % 2])
            next(answers)

    return run


def bridge_client(url: str) -> Callable[[int], None]:
    env = rlbridge.make(url)
    env.reset(seed=0)

    def run(steps: int) -> None:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(i % 2)
            if terminated or truncated:
                env.reset()

    return run


def message_sizes(url: str) -> tuple[int, int]:
    """Bytes of a step's request and response on this bridge."""
    from rlbridge.v1 import env_pb2

    env: Any = rlbridge.make(url)
    env.reset(seed=0)
    session = env._session
    request = env_pb2.ExchangeRequest(step=env_pb2.StepRequest(action=session.actions.pack(0), seq=2, epoch=1))
    session.send_step(session.actions.pack(0))
    response = session.receive()
    sizes = request.ByteSize(), response.ByteSize()
    env.close()
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floor-server", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor_server:
        floor_server(*arguments.floor_server)
        return

    serve = (
        "import rlbridge, sys\n"
        "server = rlbridge.serve('CartPole-v1', bind='grpc://127.0.0.1:0')\n"
        "print('serving', server.urls[0], flush=True)\n"
        "sys.stdin.read()\n"
        "server.stop()"
    )
    bridge, bridge_url = start([sys.executable, "-c", serve])
    request_bytes, response_bytes = message_sizes(bridge_url)
    floor, floor_url = start([sys.executable, __file__, "--floor-server", str(request_bytes), str(response_bytes)])
    try:
        runs = {"floor": floor_client(floor_url, request_bytes), "rlbridge": bridge_client(bridge_url)}
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds + 1):  # the first round warms up
            for name, run in runs.items():
                started = time.perf_counter()
                run(arguments.steps)
                rates[name].append(arguments.steps / (time.perf_counter() - started))
        medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    finally:
        for process in (bridge, floor):
            process.stdin.close()  # type: ignore[union-attr]
            process.wait(10)
    result = {**medians, "ratio": medians["rlbridge"] / medians["floor"], "bytes": [request_bytes, response_bytes]}
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"plain stream  {medians['floor']:8.0f} steps/s   ({request_bytes} bytes there, {response_bytes} back)")
        print(f"rlbridge      {medians['rlbridge']:8.0f} steps/s")
        print(f"ratio         {result['ratio']:8.2f}   (must be at least 0.9)")


if __name__ == "__main__":
    main()
