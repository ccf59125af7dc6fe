"""The server under test, and what is known of the environment that the checks use."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from rlbridge.check.peer import SEED, Outcome, Peer, outcome_of
from rlbridge.check.result import Failed, Skipped
from rlbridge.client.link import Link
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION
from rlbridge.wire.errors import BridgeError

SEARCH_SECONDS = 10.0
"""How long a check looks for something that need not come: the end of an episode, the last free session."""

MOVES = 10
"""The length of the trajectory against which the exactly-once checks compare theirs."""


class Subject:
    """A server and one of its environments.

    Args:
        connect: makes a new link to the server.
        environment: one on offer; empty for the first.
        timeout: seconds allowed for each answer.
        steps: how many steps a check makes at most while it waits for an episode to end.

    Raises:
        BridgeError: no server answers.
    """

    def __init__(self, connect: Callable[[], Link], environment: str, timeout: float, steps: int) -> None:
        self._connect = connect
        self.steps = steps
        self.timeout = timeout
        self.link = connect()
        self.server: env_pb2.DescribeResponse = self.describe()
        offers = {offer.name: offer for offer in self.server.environments}
        first = self.server.environments[0].name if self.server.environments else ""
        self.environment = environment or first
        self.offer = offers.get(self.environment, env_pb2.EnvironmentOffer())
        self._peers: list[Peer] = []
        self._links: list[Link] = []

    def describe(self, *versions: int) -> env_pb2.DescribeResponse:
        """Describe, for a client of this version or of those given."""
        request = env_pb2.DescribeRequest(protocol_versions=versions or [PROTOCOL_VERSION], client="rlbridge check")
        answer: env_pb2.DescribeResponse = self.link.call(request, self.timeout)
        return answer

    def has(self, capability: str) -> bool:
        """Whether the server advertises it."""
        return capability in self.server.capabilities

    # ------------------------------------------------------------------------------------------------- sessions

    def open_request(self, **fields: Any) -> env_pb2.OpenRequest:
        """An Open of the environment with a fresh key."""
        defaults = {
            "protocol_version": PROTOCOL_VERSION,
            "environment": self.environment,
            "open_key": secrets.token_bytes(16),
            "client": "rlbridge check",
        }
        return env_pb2.OpenRequest(**{**defaults, **fields})

    def connect(self) -> Link:
        """One more link, closed when the check ends."""
        link = self._connect()
        self._links.append(link)
        return link

    def open(self, stream: int = 0, **fields: Any) -> Peer:
        """A new session over a link of its own, closed when the check ends."""
        link = self.connect()
        opened = link.call(self.open_request(**fields), self.timeout)
        peer = Peer(link, opened, self.timeout, self.has("exchange"), stream)
        self._peers.append(peer)
        return peer

    def open_refused(self, reason: str, what: str, **fields: Any) -> BridgeError:
        """An Open that must be refused for one reason; returns the refusal.

        Raises:
            Failed: it was not, or for another reason.
        """
        request = self.open_request(**fields)
        try:
            opened = self.link.call(request, self.timeout)
        except BridgeError as error:
            if error.reason != reason:
                raise Failed(f"{reason} for {what}", f"{error.reason} ({error.args[0]})") from error
            return error
        self.link.call(env_pb2.CloseRequest(session=opened.session, epoch=opened.epoch), self.timeout)
        raise Failed(f"{reason} for {what}", "the session was opened")

    def release(self) -> None:
        """Close what a check has opened, as far as the server lets it."""
        for peer in self._peers:
            with contextlib.suppress(BridgeError):
                peer.close()
        for link in self._links:
            link.close()
        self._peers, self._links = [], []

    def close(self) -> None:
        """Let go of everything."""
        self.release()
        self.link.close()

    # ----------------------------------------------------------------------------------- what the environment does

    @cached_property
    def trajectory(self) -> list[Outcome] | None:
        """A seeded reset and the moves after it, sent once each; None if a second session does not repeat them.

        An environment that is not the same twice under one seed fails the check ``seeds``; the others then check
        what can be checked without it.
        """
        runs = []
        for _ in range(2):
            peer = self.open()
            runs.append([peer.start(), *(peer.move() for _ in range(MOVES))])
        return runs[0] if runs[0] == runs[1] else None

    @cached_property
    def resets_repeat(self) -> bool:
        """Whether two seeded sessions see the same after resets without a seed.

        Gymnasium says that a reset without a seed goes on with the random numbers there are; some environments draw
        new ones from the machine.
        """
        runs = []
        for _ in range(2):
            peer = self.open()
            runs.append([peer.start(), *(outcome_of(peer.executed(peer.reset_request())) for _ in range(2))])
        return runs[0] == runs[1]

    def compare(self, outcomes: list[Outcome], what: str) -> str:
        """Hold the beginning of a session against ``trajectory``; returns a note for ``seen``.

        Raises:
            Failed: they differ, so the environment was touched when it should not have been, or not when it should.
        """
        if self.trajectory is None:
            return "as expected (the environment does not repeat itself under a seed: the numbers were not compared)"
        for i, (seen, expected) in enumerate(zip(outcomes, self.trajectory, strict=False)):
            if seen != expected:
                raise Failed(
                    f"the same observations and rewards as without {what}",
                    f"request {i + 1} of the session has other ones: the environment was stepped or reset too often, "
                    "or not at all",
                )
        return "as expected"

    def episode(self, row: int) -> list[Outcome]:
        """One episode of a single environment, with the seed and the actions of a batch's row, and the reset after it.

        Raises:
            Skipped: it does not end within ``steps`` steps.
        """
        if row not in self._episodes:
            self._episodes[row] = self._run_episode(row)
        outcomes = self._episodes[row]
        if not outcomes:
            raise Skipped(f"no episode ended in {self.steps} steps or {SEARCH_SECONDS:g} s")
        return outcomes

    @cached_property
    def _episodes(self) -> dict[int, list[Outcome]]:
        return {}

    def _run_episode(self, row: int) -> list[Outcome]:
        peer = self.open(stream=row)
        outcomes = [peer.start(SEED + row)]
        end = time.monotonic() + SEARCH_SECONDS
        for _ in range(self.steps):
            outcomes.append(outcome_of(peer.executed(peer.step_request())))
            if peer.over:
                return [*outcomes, peer.move()]
            if time.monotonic() > end:
                break
        return []

    def batch_size(self) -> int:
        """2, or 1 where the server allows no more.

        Raises:
            Skipped: it makes no batches.
        """
        size = min(2, self.server.limits.max_envs)
        if not size:
            raise Skipped("the server makes no batches (max_envs = 0)")
        return size
