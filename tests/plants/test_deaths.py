"""Trainer, server and plant are three processes: whoever dies or hangs, the plant ends up safe by its own log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from rlbridge.plants.replay import verify
from tests.conftest import ROOT
from tests.plants.plant_process import SAFE

TRAINER = """
import sys, numpy, rlbridge
env = rlbridge.make(sys.argv[1])
env.reset()
for i in range(10**9):
    env.step(numpy.array([0.6 + 0.1 * (i % 2)], numpy.float32))
    if i == 5:
        print("running", flush=True)
"""
QUICK, NEVER = "{hold: 200 ms, ramp: 300 ms}", "{hold: 1 d, ramp: 0 s}"
LEASE = 2.0


class Site:
    """The three processes, and the two logs."""

    def __init__(self, folder, stack, serve_process) -> None:
        self.folder, self._stack, self._serve = folder, stack, serve_process
        self.plant = self._start("tests.plants.plant_process", "0", str(folder / "plant.jsonl"))
        self.port = int(self.plant.stdout.readline().split()[1])

    def _start(self, module: str, *arguments: str) -> subprocess.Popen:
        return self._popen(["-m", module, *arguments])

    def _popen(self, arguments: list[str]) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._stack.callback(process.stdout.close)
        self._stack.callback(process.wait, 10)
        self._stack.callback(process.kill)
        return process

    def run(self, dead_man: str) -> None:
        """Serve the plant, and let the trainer run."""
        (self.folder / "serve.yaml").write_text(
            f"env: {ROOT}/tests/plants/plant_process.py:RemotePlant\n"
            f"kwargs: {{port: {self.port}}}\nclock: {{period: 50 ms}}\ngate: {{dead_man: {dead_man}}}\n"
        )
        arguments = [str(self.folder), "--bind", "grpc://127.0.0.1:0", "--lease", str(LEASE)]
        self.server, (url,) = self._serve(*arguments)
        self.trainer = self._popen(["-c", TRAINER, url])
        assert self.trainer.stdout.readline() == "running\n"

    def log(self) -> list[dict]:
        """What the plant noted, whole lines only."""
        lines = (self.folder / "plant.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def writes(self) -> list[dict]:
        return [record for record in self.log() if "write" in record]

    def audit(self) -> list[dict]:
        lines = (self.folder / "audit.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture
def site(tmp_path, serve_process):
    with ExitStack() as stack:
        yield Site(tmp_path, stack, serve_process)


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("blow", "dead_man"), [(signal.SIGSTOP, QUICK), (signal.SIGKILL, NEVER)], ids=["stopped", "killed"]
)
def test_a_trainer_that_falls_silent_leaves_the_plant_safe_within_its_lease(site, blow, dead_man):
    site.run(dead_man)
    fell = time.monotonic()
    site.trainer.send_signal(blow)
    until(lambda: site.writes()[-1]["write"] == SAFE)
    until(lambda: any(record["event"] == "close" for record in site.audit()))
    seconds = next(record["at"] for record in site.writes() if record["write"] == SAFE) - fell
    print(f"safe {seconds:.2f} s after {blow.name}; dead man {dead_man}, lease {LEASE:g} s")
    events = [record["event"] for record in site.audit()]
    safe_at = next(i for i, record in enumerate(site.audit()) if record.get("applied") == SAFE)
    # The dead-man's trip comes while the session still lives; without it, the end of the lease is what trips.
    assert (safe_at < events.index("close")) == (dead_man == QUICK)
    assert site.writes()[-1]["write"] == SAFE
    assert verify(site.folder / "audit.jsonl").written > 5


def test_a_server_that_is_killed_is_missed_by_the_plants_own_watchdog(site):
    site.run(NEVER)
    assert not any("watchdog" in record for record in site.log())
    os.kill(site.server.pid, signal.SIGKILL)
    until(lambda: any("watchdog" in record for record in site.log()))
    until(lambda: "watchdog" in site.log()[-1])
    assert verify(site.folder / "audit.jsonl").written > 5  # every line outlived it


def test_a_server_that_is_ended_leaves_the_plant_safe(site):
    site.run(NEVER)
    site.server.terminate()
    assert site.server.wait(20) == 0
    assert site.writes()[-1]["write"] == SAFE
    assert site.audit()[-2]["event"] == "close"
