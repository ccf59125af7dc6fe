"""A server process to fuzz: it must still work afterwards, and not grow with the number of inputs."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

import rlbridge

# A leak grows with every input, what an allocator keeps in reserve does not: so the bound is on the second half. At
# 20,000 inputs it is 0.8 KiB for each; grpcio's leak of a call that ends badly was 16 KiB.
SECOND_HALF_MIB = 8.0
SAMPLE_EVERY = 100  # inputs


class FuzzedServer:
    """The server's URL, and how its memory went.

    Attributes:
        url: what to attack.
    """

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.url = url
        self._process = process
        self._tried = 0
        self._mib = [self._resident_mib()]

    def tried(self) -> None:
        """One more input has been answered."""
        self._tried += 1
        if self._tried % SAMPLE_EVERY == 0:
            self._mib.append(self._resident_mib())

    def _resident_mib(self) -> float:
        with open(f"/proc/{self._process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def check(self) -> None:
        """It lives, lets somebody work, and grew no more while the second half came."""
        assert self._process.poll() is None, "the server is gone"
        env = self._make()
        env.reset(seed=0)
        env.step(0)
        env.close()
        self._mib.append(self._resident_mib())
        start, half, end = self._mib[0], self._mib[len(self._mib) // 2], self._mib[-1]
        print(f"{self._tried} inputs; the server took {start:.0f} MiB before, {half:.0f} at half, {end:.0f} in the end")
        assert end - half < SECOND_HALF_MIB, f"the server grows: {[round(mib) for mib in self._mib]} MiB"

    def _make(self) -> rlbridge.Env:
        for _ in range(200):  # what the fuzz has opened by luck goes with its lease, of one second
            try:
                return rlbridge.make(self.url)
            except rlbridge.errors.CapacityExhausted:
                threading.Event().wait(0.1)
        pytest.fail("sessions opened by luck still fill the server 20 s after their lease of one second")


@pytest.fixture
def fuzzed_server(serve_process, tmp_path):
    """Start a server with one bind of a scheme."""
    started = []

    def start(scheme: str) -> FuzzedServer:
        limits = ["--max-message-mib", "1", "--max-envs", "8", "--lease", "1"]  # what was opened by luck goes soon
        bind = f"shm://{tmp_path}/env.sock" if scheme == "shm" else f"{scheme}://127.0.0.1:0"
        process, (url,) = serve_process("CartPole-v1", "--bind", bind, *limits)
        rlbridge.make(url).close()
        started.append(FuzzedServer(process, url))
        return started[-1]

    yield start
    for server in started:
        server.check()
