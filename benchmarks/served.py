"""A server of rlbridge's in a process of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Served(NamedTuple):
    """Where it listens, and its process."""

    url: str
    pid: int


@contextlib.contextmanager
def served(
    environment: str, bind: str = "grpc://127.0.0.1:0", variables: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """``rlbridge serve ENVIRONMENT --bind BIND``; ``variables`` are added to its environment's.

    Raises:
        RuntimeError: it did not start; it has said why.
    """
    command = [sys.executable, "-m", "rlbridge", "serve", environment, "--bind", bind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(variables or {})})
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if not words:
            raise RuntimeError("the server did not start: see above")
        yield Served(words[1], process.pid)
    finally:
        process.terminate()
        process.wait(20)
