"""What came for a client goes with it: environments, threads, descriptors and memory, on both sides."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

import rlbridge
from rlbridge.server import ServerLimits
from rlbridge.v1 import env_pb2_grpc
from tests.chaos.conftest import SCHEMES, books
from tests.chaos.proxy import Proxy
from tests.conftest import ROOT

FULL = [pytest.mark.slow, pytest.mark.timeout(1500)]
MIB = 1024 * 1024


def own_books() -> dict[str, int]:
    """This process's threads, descriptors and memory."""
    gc.collect()
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


def assert_back(before: dict[str, int], after: dict[str, int], slack: int, allowed_mib: float) -> None:
    for name in ("threads", "descriptors"):
        assert after[name] <= before[name] + slack, f"{name}: {before[name]} before, {after[name]} after"
    grown = (after["resident"] - before["resident"]) / MIB
    assert grown <= allowed_mib, f"memory grew by {grown:.1f} MiB"


def cycle(url: str) -> None:
    env = rlbridge.make(url)
    env.reset(seed=0)
    env.step(1)
    env.close()


@pytest.mark.parametrize(("warm", "cycles"), [(30, 90), pytest.param(500, 10_000, marks=FULL)])
def test_opening_and_closing_leaves_nothing_behind(served, warm, cycles):
    url = served()
    for _ in range(warm):
        cycle(url)
    server, client = books(url), own_books()
    for _ in range(cycles):
        cycle(url)
    server_after, client_after = books(url), own_books()
    print(f"{cycles} cycles\nserver {server}\n    -> {server_after}\nclient {client}\n    -> {client_after}")
    assert server_after["open"] == server_after["objects"] == 1  # the one that tells
    assert server_after["stepped"] == warm + cycles
    assert_back(server, server_after, slack=4, allowed_mib=8)
    assert_back(client, client_after, slack=4, allowed_mib=8)


def test_environments_forgotten_without_close_take_nothing_with_them(served):
    """As a crash in a notebook does: this side's threads and connections end with the object."""
    url = served("tests.envs:Ledger", "--lease", "0.5")

    def forget(count: int) -> None:
        for _ in range(count):
            env = rlbridge.make(url)
            env.reset(seed=0)
            env.step(1)
        del env
        gc.collect()

    forget(10)
    before = own_books()
    forget(40)
    after = settled(own_books, lambda now: now["descriptors"] <= before["descriptors"] + 4)
    print(f"{before} -> {after}")
    assert_back(before, after, slack=4, allowed_mib=8)
    assert settled(lambda: books(url), lambda now: now["open"] == 1)["objects"] == 1


CLIENTS = """
import sys, rlbridge
envs = [rlbridge.make(sys.argv[1]) for _ in range(int(sys.argv[2]))]
for env in envs:
    env.reset(seed=0)
    env.step(1)
print("ready", flush=True)
sys.stdin.read()
"""


def abandon(proxy: Proxy, count: int, silent: bool) -> None:
    """Clients in a process that SIGKILL ends; ``silent``: and nothing tells the server."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENTS, proxy.url, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        if silent:
            proxy.swallow()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdin.close()
        process.stdout.close()
        proxy.heal()


def fill_the_pool(url: str) -> None:
    """gRPC's pool keeps every thread that was ever needed at once: all of them now, or their number would be luck."""
    streams = 2 * ServerLimits().max_sessions + 16 - 4  # as many as there may be, and room to look
    enough = threading.Event()

    def silent():
        enough.wait(120)
        yield from ()

    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        stub = env_pb2_grpc.EnvServiceStub(channel)
        calls = [stub.Exchange(silent()) for _ in range(streams)]
        seen = settled(lambda: books(url), lambda now: now["threads"] > streams)
        enough.set()
        for call in calls:
            call.code()  # waits until the server has ended it: its place is free again
    assert seen["threads"] > streams


def settled(look, well, seconds: float = 100.0) -> dict[str, int]:
    """Look until all is well, or the time is up; what was seen last."""
    end = time.monotonic() + seconds
    while not well(seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


# Over HTTP a closing handshake that nobody answers is waited for, ten seconds each time: too slow for the fast suite.
SMALL = [("grpc", False, 10, 10), ("grpc", True, 10, 10), ("http", False, 10, 10)]
FULL_SIZE = [
    pytest.param(scheme, silent, 500, 50, marks=FULL, id=f"{scheme}-{'vanished' if silent else 'killed'}-full")
    for scheme in SCHEMES
    for silent in (False, True)
]


@pytest.mark.parametrize(("scheme", "silent", "clients", "at_once"), [*SMALL, *FULL_SIZE])
def test_abandoned_clients_leave_nothing_behind(served, proxied, clients, at_once, silent):
    """Killed: their connections end with them. Vanished: so do they not, as when the power goes or a router."""
    url = served("tests.envs:Ledger", "--lease", "1")
    if url.startswith("grpc"):
        fill_the_pool(url)
    proxy = proxied(url)
    before = None
    for _ in range(1 + clients // at_once):
        abandon(proxy, at_once, silent)
        seen = settled(lambda: books(url), lambda now: now["open"] == 1 and not proxy.counters()["open"])
        before = before or seen  # the first ones warm up
    print(f"{clients} clients\nserver {before}\n    -> {seen}\nproxy {proxy.counters()}")
    assert seen["open"] == seen["objects"] == 1
    assert proxy.counters()["open"] == 0
    assert_back(before, seen, slack=8, allowed_mib=8)
