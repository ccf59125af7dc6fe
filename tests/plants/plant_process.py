"""A plant in a process of its own, with its own log and its own watchdog; and the plant class that speaks to it.

``python tests/plants/plant_process.py PORT LOG`` takes one line of JSON after the other, on one connection at a time.
Once the heartbeat has begun, 0.5 s without a change of it trip the plant.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

from rlbridge.plants import PlantLost, Reading, Signal

WATCHDOG = 0.5
SAFE = {"valve": 0.0}


class RemotePlant:
    """Speaks to the process at ``port``."""

    signals = (
        Signal("level", "observation", 0.0, 10.0, hold=0.1),
        Signal("valve", "action", 0.0, 1.0, max_rate=4.0),
        Signal("alive", "heartbeat", 0, 1),
    )

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def start(self, seed, options):
        self.close()
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=2.0)
        self._file = self._socket.makefile("rw")

    def _ask(self, request):
        try:
            self._file.write(json.dumps(request) + "\n")
            self._file.flush()
            return json.loads(self._file.readline())
        except (OSError, ValueError) as error:
            raise PlantLost(f"the plant at port {self._port} does not answer: {error}") from error

    def read(self):
        answer = self._ask({})
        return Reading(answer["values"], answer["time"])

    def write(self, commands):
        self._ask({"write": dict(commands)})

    def safe_action(self):
        return SAFE

    def close(self):
        if self._socket is not None:
            self._file.close()
            self._socket.close()
            self._socket = None


class Process:
    """The plant itself."""

    def __init__(self, log: str) -> None:
        self.values = {"level": 5.0, "valve": 0.5}
        self._log = open(log, "a", buffering=1)  # noqa: SIM115
        self._lock = threading.Lock()
        self._beat, self._beaten_at, self._tripped = None, 0.0, False

    def note(self, **record):
        self._log.write(json.dumps({"at": time.monotonic(), **record}) + "\n")

    def answer(self, request):
        with self._lock:
            commands = request.get("write", {})
            if "alive" in commands and commands["alive"] != self._beat:
                self._beat, self._beaten_at = commands.pop("alive"), time.monotonic()
            elif commands:
                self.values.update(commands)
                self.note(write=commands)
            return {"values": self.values, "time": time.time()}

    def watch(self):
        while True:
            time.sleep(0.05)
            with self._lock:
                late = self._beat is not None and time.monotonic() - self._beaten_at > WATCHDOG
                if late and not self._tripped:
                    self._tripped = True
                    self.values.update(SAFE)
                    self.note(watchdog="tripped")


def main(port: int, log: str) -> None:
    process = Process(log)
    threading.Thread(target=process.watch, daemon=True).start()
    with socket.create_server(("127.0.0.1", port)) as server:
        print(f"ready {server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as file:
                for line in file:
                    file.write(json.dumps(process.answer(json.loads(line))) + "\n")
                    file.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
