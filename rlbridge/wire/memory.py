"""Memory for messages: kept by this process from one to the next, instead of being asked of the system for each."""

from __future__ import annotations

_AT_A_TIME = 32  # blocks of about a message's size that may be free between two messages, with some to spare
_LARGEST = 31 * 1024 * 1024  # beyond 32 MiB, glibc learns nothing


def keep_memory(message_bytes: int) -> None:
    """Have the C library keep what messages of this size need.

    A message passes through several blocks of its size. Freed, glibc would return the larger ones to the system, which
    clears the pages when they are asked for anew: for 226 kB that takes as long as all the rest of a step
    (docs/speed-of-steps.md). glibc finds out by itself which sizes come again, by those that are freed: mallopt(3),
    M_MMAP_THRESHOLD. So one is freed. Where another allocator is in use, nothing happens.

    Args:
        message_bytes: of the largest message that is common.
    """
    bytes(min(_AT_A_TIME * message_bytes, _LARGEST))
