"""CartPole behind the first generation's HTTP wire, written from its description alone (docs/drivers.md).

    python examples/legacy_http/server.py 8000

PUT with the form body ``action=<n>`` is answered by JSON inside a JSON string: reward, next_state, done. There is no
reset: after ``done`` the pole stands in its initial state again, all zeros.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import gymnasium
import numpy as np


class Pole:
    """CartPole-v1 that always begins upright and still."""

    def __init__(self) -> None:
        self.env = gymnasium.make("CartPole-v1")
        self.begin()

    def begin(self) -> None:
        self.env.reset(seed=0)
        self.env.unwrapped.state = np.zeros(4)

    def step(self, action: int) -> str:
        state, reward, terminated, truncated, _ = self.env.step(action)
        done = bool(terminated or truncated)
        if done:
            self.begin()
        return json.dumps({"reward": float(reward), "next_state": [float(x) for x in state], "done": done})


class Handler(BaseHTTPRequestHandler):
    pole = Pole()

    def do_PUT(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        answer = json.dumps(self.pole.step(int(form["action"][0]))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("ready", flush=True)
    server.serve_forever()
