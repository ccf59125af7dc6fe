"""A server process to fuzz: it must still work afterwards, and have grown by no more than the bound."""

from __future__ import annotations

import os
import threading

import pytest

import rlbridge

GROWTH_MIB = 200


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


@pytest.fixture
def fuzzed_server(serve_process):
    """Start a server with one bind; gives its URL."""
    started = []

    def start(scheme: str) -> str:
        limits = ["--max-message-mib", "1", "--max-envs", "8", "--lease", "1"]  # what was opened by luck goes soon
        process, (url,) = serve_process("CartPole-v1", "--bind", f"{scheme}://127.0.0.1:0", *limits)
        rlbridge.make(url).close()
        started.append((process, url, resident_mib(process.pid)))
        return url

    yield start
    for process, url, before in started:
        assert process.poll() is None, "the server is gone"
        for _ in range(200):  # what the fuzz has opened by luck goes with its lease, of one second
            try:
                env = rlbridge.make(url)
                break
            except rlbridge.errors.CapacityExhausted:
                threading.Event().wait(0.1)
        else:
            pytest.fail("sessions opened by luck still fill the server 20 s after their lease of one second")
        env.reset(seed=0)
        env.step(0)
        env.close()
        growth = resident_mib(process.pid) - before
        print(f"the server has grown by {growth:.0f} MiB")
        assert growth < GROWTH_MIB
