"""Whether a run that says nothing is at work, or waits for an environment that does not answer."""

from __future__ import annotations

import asyncio
import time

from rlbridge.client.connect import describe
from rlbridge.client.target import is_remote
from rlbridge.runs.standing import Standing
from rlbridge.studio.refusals import refusal
from rlbridge.studio.words import Words
from rlbridge.wire.errors import BridgeError

_SILENCE = 5.0
_BETWEEN_LOOKS = 5.0
_ANSWER_SECONDS = 3.0


class Pulse:
    """Asks a silent run's server whether it is there."""

    def __init__(self, t: Words) -> None:
        self._t = t
        self._looked = -_BETWEEN_LOOKS
        self._found = ""

    async def trouble(self, now: Standing) -> str:
        """What is wrong, or empty."""
        silent = time.time() - now.updated
        if now.status not in ("running", "stopping") or not now.updated or silent < _SILENCE:
            self._found = ""
            return ""
        if not is_remote(now.target):
            return self._t("No news for {n} s.", n=int(silent)) if silent > 6 * _SILENCE else ""
        if time.monotonic() - self._looked > _BETWEEN_LOOKS:
            self._looked = time.monotonic()
            self._found = await asyncio.to_thread(_not_there, now.target)
        if not self._found:
            return ""
        return self._t(
            "No news for {n} s: the server of the environment does not answer. The run tries again until its "
            "env.retry_for is over. {why}",
            n=int(silent),
            why=refusal(self._t, self._found),
        )


def _not_there(target: str) -> str:
    """Why the server does not answer; empty if it does."""
    try:
        describe(target, _ANSWER_SECONDS)
    except (BridgeError, ValueError) as error:
        return str(error)
    return ""
