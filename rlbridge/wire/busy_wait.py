"""Waiting with open eyes: whoever expects a message soon looks for it instead of sleeping until it is woken.

A thread that sleeps must be woken, and where a processor has nothing else to do it is halted meanwhile: on a virtual
machine, given back to its host. Done twice for every message, that takes longer than all the rest of a step
(docs/speed-of-steps.md). Looking costs a processor that nobody else wants at that moment, for so long at most:

- for ``SECONDS`` before the last wait was over, and as long after that. Before, the thread sleeps, but not for longer
  than that; and where the last wait took longer than ``LONGEST``, it sleeps until it is woken;
- only as long as nobody else wants this processor or the interpreter;
- not at all where this process may use one processor only, nor where ``RLBRIDGE_BUSY_WAIT`` is anything but 1.
"""

from __future__ import annotations

import functools
import math
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

SECONDS = 0.001
LONGEST = 0.02
VARIABLE = "RLBRIDGE_BUSY_WAIT"
_INTERRUPTED = 0.0002  # between two looks, each a few microseconds: something else has run here


class BusyWait:
    """How one thread waits for one kind of message.

    Args:
        welcome: whether to look at all, asked at the beginning of every wait.
    """

    def __init__(self, welcome: Callable[[], bool] = lambda: True) -> None:
        self._welcome = welcome if may_look() else lambda: False
        self._lasted = math.inf  # the last wait, in seconds
        self._began = 0.0

    def take(self, ready: Callable[[float], object], receive: Callable[..., Found], *arguments: Any) -> Found:
        """Look whether something is ``ready``, then ``receive(*arguments)`` it, which sleeps if it has to."""
        self.look(ready)
        found = receive(*arguments)
        self.came()
        return found

    def look(self, ready: Callable[[float], Found | None]) -> Found | None:
        """Look for a while, if that is likely to help.

        Args:
            ready: what there is within so many seconds, 0: at once; something false: nothing yet.

        Returns:
            What was found, or None: sleep now. When the message is there, by either way, call ``came``.
        """
        self._began = before = time.perf_counter()
        if self._lasted > LONGEST or not self._welcome():
            return None
        end = before + self._lasted + SECONDS
        if self._lasted > 2 * SECONDS:
            if found := ready(self._lasted - SECONDS):
                return found
            before = time.perf_counter()
        while not (found := ready(0.0)):
            os.sched_yield()
            now = time.perf_counter()
            if now > end or now - before > _INTERRUPTED:
                return None
            before = now
        return found

    def came(self) -> None:
        """The message is there."""
        self._lasted = time.perf_counter() - self._began


def readable(descriptors: Iterable[int]) -> Callable[[float], object]:
    """For ``look``: whether something may be read from one of these files within so many seconds."""
    if not hasattr(select, "poll"):  # where nobody looks, either
        return lambda seconds: True
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return lambda seconds: poll.poll(int(seconds * 1000))


@functools.cache
def may_look() -> bool:
    """Whether looking can help in this process, and is not turned off."""
    return os.environ.get(VARIABLE, "1") == "1" and hasattr(os, "sched_yield") and _processors() >= 2


def _processors(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """How many of them this process may use; a container's share (cgroups, version 2) may be a fraction."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return min(there, int(share) / int(period))
    except (OSError, ValueError):  # no such limit: "max", or another system
        return there
