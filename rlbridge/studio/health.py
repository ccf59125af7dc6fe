"""Whether environment servers answer, how full they are, and what they offer."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rlbridge.client.connect import open_link
from rlbridge.client.target import parse_target
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION
from rlbridge.wire.errors import BridgeError

_AT_ONCE = 8


@dataclass(frozen=True)
class Health:
    """What a server said of itself.

    Attributes:
        problem: why there is no answer, or "".
        open_sessions, max_sessions: of its capacity.
        environments: name and summary of each.
        milliseconds: until it answered, connecting included.
    """

    problem: str = ""
    open_sessions: int = 0
    max_sessions: int = 0
    environments: tuple[tuple[str, str], ...] = ()
    milliseconds: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether it said anything."""
        return not self.problem


def ask_health(url: str, seconds: float) -> Health:
    """Ask a server, for at most that long. Opens no session."""
    began = time.monotonic()
    try:
        link = open_link(parse_target(url))
        try:
            said = link.call(env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION]), seconds)
        finally:
            link.close()
    except (BridgeError, OSError, ValueError) as error:
        return Health(f"{type(error).__name__}: {error}")
    return Health(
        open_sessions=said.limits.open_sessions,
        max_sessions=said.limits.max_sessions,
        environments=tuple((offer.name, offer.summary) for offer in said.environments),
        milliseconds=(time.monotonic() - began) * 1000,
    )


class HealthCheck:
    """Asks each server once in a while, however many pages look at it, in threads that nothing else waits for.

    Args:
        seconds: that a server has to answer in.
        every: seconds for which an answer is as good as new.
    """

    def __init__(self, seconds: float = 1.5, every: float = 1.5) -> None:
        self._seconds, self._every = seconds, every
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="health")
        self._asked: dict[str, tuple[float, asyncio.Future[Health]]] = {}

    async def of(self, url: str) -> Health:
        """How the server at that address is; at most ``every`` + ``seconds`` old."""
        at, answer = self._asked.get(url, (0.0, None))
        if answer is None or (answer.done() and time.monotonic() - at > self._every):
            answer = asyncio.get_running_loop().run_in_executor(self._threads, ask_health, url, self._seconds)
            self._asked[url] = (time.monotonic(), answer)
        return await asyncio.shield(answer)

    def keep(self, urls: set[str]) -> None:
        """Forget all others."""
        for url in self._asked.keys() - urls:
            del self._asked[url]
