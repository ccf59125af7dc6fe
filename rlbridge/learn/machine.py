"""The machine that a run is on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# What a container may use, in cgroups version 2 and 1; the text "max", or a huge number, where it is not limited.
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_limit() -> int | None:
    """Bytes of memory that the machine has, or that its container may use; None where the system does not say."""
    limits = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(path.read_text(encoding="ascii")))
    return min(limits, default=None)
