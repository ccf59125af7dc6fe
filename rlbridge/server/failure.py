"""What is said, and done, when an environment raises."""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from typing import Any

from rlbridge.wire.errors import RemoteEnvError, WireError

log = logging.getLogger("rlbridge.server")


def environment_failure(call: str, error: Exception, show_traceback: bool) -> RemoteEnvError:
    """The answer to a client whose environment raised ``error`` in ``call``; also logs it with its traceback."""
    log.warning("the environment failed in %s", call, exc_info=error)
    if isinstance(error, RemoteEnvError):
        return error
    what = (
        f"returned in {call} what its own observation space does not allow: {error}"
        if isinstance(error, WireError)
        else f"raised {type(error).__name__} in {call}: {error}"
    )
    trace = "".join(traceback.format_exception(error)) if show_traceback else ""
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
    except Exception:
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
