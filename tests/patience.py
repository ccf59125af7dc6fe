"""Clients that give up soon, and only where a test wants them to: opening, and what comes after, may take its time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rlbridge.client.retry import Retry


@contextlib.contextmanager
def impatient(env: Any, seconds: float = 0.3) -> Iterator[None]:
    """Give up on the requests made inside after so many seconds, without trying again."""
    session = env._session
    patience, session.retry = session.retry, Retry(timeout=seconds, total=0)
    try:
        yield
    finally:
        session.retry = patience
