"""What a verb tells while it is at it: one JSON object a line on stdout, for a program that reads along."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from rlbridge.cli.train import SIGNALLED

_ENDED = SIGNALLED["SIGTERM"]


@contextmanager
def lines() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives what prints a line. A line is written at once, and whole before the next thing is done.

    A reader that is slow holds up what is told; nothing piles up here.

    Raises:
        SystemExit: 143, inside the block, on SIGTERM, or when the reader has closed its end.
    """
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()

    def end(*_: object) -> NoReturn:
        raise SystemExit(_ENDED)

    def tell(what: Mapping[str, Any]) -> None:
        rest = memoryview(json.dumps(dict(what)).encode() + b"\n")
        try:
            # Not through sys.stdout: what stuck in its buffer would hold up the end of this process.
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError:
            end()

    before = signal.signal(signal.SIGTERM, end)
    # An environment may take its time for a step: nothing is written then that would show that nobody listens.
    threading.Thread(target=_end_without_reader, args=(descriptor,), daemon=True).start()
    try:
        yield tell
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_without_reader(descriptor: int) -> None:
    if not hasattr(select, "poll"):  # Windows: the next line finds it out
        return
    watch = select.poll()
    watch.register(descriptor, 0)  # errors only: the other end of a pipe was closed
    watch.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
