"""What somebody may have meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """``did you mean 'x'?`` for the nearest of ``known``; ``otherwise`` where none is within ``cutoff`` (0 to 1)."""
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else otherwise
