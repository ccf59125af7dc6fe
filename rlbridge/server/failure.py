"""What is said, and done, when an environment raises."""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from typing import Any

from rlbridge.wire.errors import RemoteEnvError, WireError

log = logging.getLogger("rlbridge.server")

# An environment that calls sys.exit() must not take a server's thread with it, nor a request's answer.
FAILURES = (Exception, SystemExit, KeyboardInterrupt)
_MESSAGE_CHARACTERS, _TRACEBACK_CHARACTERS = 4_000, 16_000


def environment_failure(call: str, error: BaseException, show_traceback: bool) -> RemoteEnvError:
    """The answer to a client whose environment raised ``error`` in ``call``; also logs it with its traceback."""
    log.warning("the environment failed in %s", call, exc_info=error)
    if isinstance(error, RemoteEnvError):
        return error
    what = (
        f"returned in {call} what its own observation space does not allow: {error}"
        if isinstance(error, WireError)
        else f"raised {type(error).__name__} in {call}: {error}"
    )
    trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:] if show_traceback else ""
    if len(what) > _MESSAGE_CHARACTERS:
        what = f"{what[:_MESSAGE_CHARACTERS]} ... ({len(what)} characters)"
    remedy = "" if call == "render" else " It is made anew by the next reset()."
    return RemoteEnvError(
        f"the environment {what}.{remedy}",
        remote_traceback=trace,
        exception=type(error).__name__,
    )


def close_quietly(env: Any) -> None:
    """Close an environment that may be beyond closing."""
    try:
        env.close()
    except FAILURES:
        log.warning("closing an environment failed", exc_info=True)


class RebuildBudget:
    """Allows ``limit`` rebuilds in any ``window`` seconds: one that dies at once must not eat the machine."""

    def __init__(self, limit: int, window: float = 60.0) -> None:
        self.limit = limit
        self.window = window
        self._times: deque[float] = deque()

    def take(self) -> bool:
        """Whether one more rebuild is allowed now; if so, it is counted."""
        now = time.monotonic()
        while self._times and now - self._times[0] > self.window:
            self._times.popleft()
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True


def checked_info(info: Any) -> dict[str, Any]:
    """An environment's info, if it is one.

    Raises:
        TypeError: it is no dictionary.
    """
    if not isinstance(info, dict):
        raise TypeError(f"info must be a dictionary, got {type(info).__name__} {str(info)[:80]!r}")
    return info


def checked_reward(reward: Any) -> float:
    """An environment's reward as a number.

    Raises:
        TypeError: it is no number.
    """
    try:
        if isinstance(reward, str):
            raise TypeError
        return float(reward)
    except (TypeError, ValueError):
        raise TypeError(f"reward must be a number, got {type(reward).__name__} {str(reward)[:80]!r}") from None
