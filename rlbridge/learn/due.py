"""When something that is done every so many transitions is due."""

from __future__ import annotations


def passed(every: int, last: int, steps: int, done: bool) -> bool:
    """Whether a multiple of ``every`` was passed since ``last``; at the end, whether there was any step since."""
    return every > 0 and (steps // every > last // every or (done and steps > last))
