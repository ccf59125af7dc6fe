"""The floor: the same bytes with nothing around them, by a raw TCP socket and by a plain gRPC stream.

    floor.py tcp REQUEST_BYTES RESPONSE_BYTES       no environment: the bytes alone
    floor.py stream REQUEST_BYTES RESPONSE_BYTES    grpcio's public API, and CartPole-v1 behind it

No numbers, no checks, no spaces, no reset that has to be asked for: the plain stream's server resets by itself.
"""

from __future__ import annotations

import queue
import socket
import sys
from collections.abc import Callable
from concurrent import futures
from typing import Any

from turns import serving, start_server, take_turns


def serve_tcp(request_bytes: int, response_bytes: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request, response = bytearray(request_bytes), bytes(response_bytes)
    while _filled(connection, request):
        connection.sendall(response)


def _filled(connection: socket.socket, buffer: bytearray) -> bool:
    """Receive exactly that much; False at the end."""
    view = memoryview(buffer)
    while view:
        received = connection.recv_into(view)
        if not received:
            return False
        view = view[received:]
    return True


def tcp_client(address: str, request_bytes: int, response_bytes: int) -> Callable[[int], None]:
    connection = socket.create_connection(("127.0.0.1", int(address)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request, response = bytes(request_bytes), bytearray(response_bytes)

    def run(steps: int) -> None:
        for _ in range(steps):
            connection.sendall(request)
            _filled(connection, response)

    return run


def serve_stream(request_bytes: int, response_bytes: int) -> None:
    """The action is the request's first byte, the observation leads the response."""
    import grpc
    import gymnasium
    import numpy as np

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
    serving(f"127.0.0.1:{port}")
    server.stop(0)


def stream_client(address: str, request_bytes: int, response_bytes: int) -> Callable[[int], None]:
    import grpc

    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = grpc.insecure_channel(address).stream_stream("/floor.Floor/Exchange")(iter(requests.get, None))
    payloads = [bytes([action]) + bytes(request_bytes - 1) for action in (0, 1)]

    def run(steps: int) -> None:
        for i in range(steps):
            requests.put(payloads[i % 2])
            next(answers)

    return run


_SERVERS = {"tcp": serve_tcp, "stream": serve_stream}
_CLIENTS = {"tcp": tcp_client, "stream": stream_client}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _SERVERS[sys.argv[2]](int(sys.argv[3]), int(sys.argv[4]))
    else:
        kind, *sizes = sys.argv[1:]
        take_turns(_CLIENTS[kind](start_server(__file__, kind, *sizes), int(sizes[0]), int(sizes[1])))
