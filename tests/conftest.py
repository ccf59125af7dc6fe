"""What many tests share: servers in this process, and in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import rlbridge
from rlbridge.server import Server

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers on free ports of loopback; they stop when the test ends."""
    with ExitStack() as stack:

        def start(env, bind="grpc://127.0.0.1:0", **options) -> Server:
            return stack.enter_context(rlbridge.serve(env, bind=bind, **options))

        yield start


@pytest.fixture
def serve_process(tmp_path) -> Iterator[Callable[..., tuple[subprocess.Popen, list[str]]]]:
    """Start ``rlbridge serve ARGS...`` as a process; returns it and the URLs it printed. It is ended by its id."""
    processes: list[subprocess.Popen] = []

    def start(*arguments: str, urls: int = 1) -> tuple[subprocess.Popen, list[str]]:
        log = tmp_path / f"server-{len(processes)}.log"  # a pipe that nobody reads would fill up and hold the server
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "rlbridge", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
            )
        process.stderr = log.open()
        processes.append(process)
        lines = [process.stdout.readline().split() for _ in range(urls)]
        assert all(line and line[0] == "serving" for line in lines), process.stderr.read()
        return process, [line[1] for line in lines]

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()
        process.stderr.close()
