"""How a contestant takes part: it waits for its turn, takes the steps it is told, and says how long they took.

A contestant is a process of its own, so that each has an interpreter, threads and, for peers, packages of its own.
While others have their turn it waits for a line on its stdin and takes nothing from the machine. Nothing here but the
standard library: peers run it in an environment without rlbridge.
"""

from __future__ import annotations

import atexit
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def take_turns(run: Callable[[int], None]) -> None:
    """Say ``ready``; then answer each line, a number of steps, with the seconds they took; until stdin ends.

    Args:
        run: takes so many steps.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - started, flush=True)


def needed(package: str, install: str) -> Any:
    """The package; where it is missing, this contestant says so and takes no part."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        print(f"skipped: {error}; pip install {install}", flush=True)
        raise SystemExit(0) from error


def start_server(script: str, *arguments: object) -> str:
    """Start a contestant's server in a process of its own, and return the address that it prints.

    The server runs ``script serve ...`` and calls ``serving``; it ends with this process.
    """
    command = [sys.executable, str(Path(script)), "serve", *map(str, arguments)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, server)
    assert server.stdout is not None
    return server.stdout.readline().strip()


def _end(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(5)


def serving(address: str) -> None:
    """Tell the client where the server is, and wait until it goes."""
    print(address, flush=True)
    sys.stdin.read()
