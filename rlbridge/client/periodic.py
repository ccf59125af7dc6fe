"""Something done every so often, for as long as the one who wants it lives: renewing a lease, watching a deadline."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any


class Periodic:
    """Calls a method from a thread of its own, every ``period`` seconds, until ``stop`` or its owner's end.

    Args:
        method: a bound method. Only a weak reference to its owner is kept, so that an environment that is forgotten
            without being closed is still collected, and its lease runs out.
        period: seconds.
    """

    def __init__(self, method: Callable[[], Any], period: float) -> None:
        self._done = threading.Event()
        weakref.finalize(method.__self__, self._done.set).atexit = False  # type: ignore[attr-defined]
        thread = threading.Thread(target=_run, args=(weakref.WeakMethod(method), period, self._done), daemon=True)
        thread.name = f"rlbridge-{method.__name__.strip('_')}"
        thread.start()

    def stop(self) -> None:
        """No more calls. Idempotent; does not wait for one under way."""
        self._done.set()


def _run(method: weakref.WeakMethod[Callable[[], Any]], period: float, done: threading.Event) -> None:
    while not done.wait(period):
        call = method()
        if call is None:
            return
        call()
        del call  # or this thread would be the one that keeps the owner alive
