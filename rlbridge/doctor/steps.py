"""A session of the doctor's own, and where the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rlbridge.client.connect import DEFAULT_MAX_MESSAGE_BYTES
from rlbridge.client.link import Link
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.client.retry import Retry
from rlbridge.client.session import ClientSession
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.place import Place
from rlbridge.doctor.refusal import refused
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION, decode_value
from rlbridge.wire.errors import BridgeError, DeadlineExceeded

_PATIENCE = 8.0  # seconds, for one request
_STEPPING = 5.0  # seconds, for all steps together
_SLOW_MS = 10.0

_ADVICE = {
    "environment": (
        "Make the environment's step faster, or run several at a time: a larger num_envs, more servers, more machines."
    ),
    "network and transport": (
        "Bring the trainer nearer to the environment, put more environments in a batch, or send smaller observations."
    ),
    "encoding here": "This machine is busy, or the observations are large: send less, or give it a core of its own.",
}


@dataclass
class Split:
    """Where the time of some steps went.

    Attributes:
        steps: how many.
        env, network, coding: seconds inside the environment, on the way and in both transports, and in this process.
    """

    steps: int = 0
    env: float = 0.0
    network: float = 0.0
    coding: float = 0.0

    def finding(self) -> Finding:
        """The verdict, with the largest part first."""
        parts = {"environment": self.env, "network and transport": self.network, "encoding here": self.coding}
        total = sum(parts.values())
        each = total / self.steps * 1000
        order = sorted(parts, key=lambda part: parts[part], reverse=True)
        split = ", ".join(
            f"{part} {parts[part] / total:.0%} ({parts[part] / self.steps * 1000:.2f} ms)" for part in order
        )
        found = f"{self.steps} steps, {each:.2f} ms each: {split}"
        if each <= _SLOW_MS:
            return Finding("steps", "ok", found)
        slow = {"environment": "environment slow", "network and transport": "network slow"}.get(order[0], "client slow")
        return Finding("steps", "warning", f"{slow}: {found}", _ADVICE[order[0]])


def examine_session(link: Link, place: Place, token_given: bool, steps: int, deadline: Deadline) -> Iterator[Finding]:
    """Open a session, reset, take random steps, close.

    Raises:
        Problem: one of them fails or takes too long.
    """
    started = time.perf_counter()
    patience = deadline.within(_PATIENCE)
    try:
        session = ClientSession(
            link,
            place.target.text,
            environment=place.target.environment,
            retry=Retry(timeout=patience, total=0),
            max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES,
        )
    except DeadlineExceeded as error:
        raise Problem(
            "session",
            f"environment slow: it was not made within {patience:.1f} s, though the server answers",
            "Make it start faster, or give make() a larger timeout.",
        ) from error
    except BridgeError as error:
        raise refused("session", error, token_given) from error
    try:
        opened = (time.perf_counter() - started) * 1000
        spaces = f"observation {_short(session.observations.space)}, action {_short(session.actions.space)}"
        yield Finding("session", "ok", f"opened in {opened:.1f} ms: {spaces}")
        yield _reset(session, link, token_given, deadline)
        yield _steps(session, link, token_given, steps, deadline)
    finally:
        session.close()


def _short(space: object) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _reset(session: ClientSession, link: Link, token_given: bool, deadline: Deadline) -> Finding:
    session.retry = Retry(timeout=deadline.within(_PATIENCE), total=0)
    started = time.perf_counter()
    try:
        response = session.reset(reset_request(0, None))
    except DeadlineExceeded as error:
        raise _stuck("reset", session, link) from error
    except BridgeError as error:
        raise refused("reset", error, token_given) from error
    took = time.perf_counter() - started
    found = f"{took * 1000:.1f} ms, {response.env_ns / 1e6:.1f} ms of them in the environment"
    return Finding("reset", "ok", found)


def _steps(session: ClientSession, link: Link, token_given: bool, steps: int, deadline: Deadline) -> Finding:
    split = Split()
    space = session.actions.space
    space.seed(0)
    end = time.monotonic() + deadline.within(_STEPPING)
    while split.steps < steps and (not split.steps or time.monotonic() < end):
        session.retry = Retry(timeout=deadline.within(_PATIENCE), total=0)
        action = space.sample()
        try:
            if _step(session, action, split):
                session.reset(reset_request(None, None))
        except DeadlineExceeded as error:
            raise _stuck("step", session, link) from error
        except BridgeError as error:
            raise refused("steps", error, token_given) from error
    return split.finding()


def _step(session: ClientSession, action: object, split: Split) -> bool:
    """Take one step and note where its time went; whether the episode is over."""
    begun = time.perf_counter()
    packed = packed_action(session.actions, action)
    sent = time.perf_counter()
    response = session.step(packed)
    received = time.perf_counter()
    session.observations.unpack(response.observation, copy=True)
    if response.HasField("info"):
        decode_value(response.info)
    done = time.perf_counter()
    env = min(response.env_ns / 1e9, received - sent)
    split.steps += 1
    split.env += env
    split.network += received - sent - env
    split.coding += (sent - begun) + (done - received)
    return b"\x01" in (response.terminated, response.truncated)


def _stuck(what: str, session: ClientSession, link: Link) -> Problem:
    """A reset or step that did not come back: is it the environment, or everything?"""
    waited = f"a {what} did not come back within {session.retry.timeout:.1f} s"
    session.retry = Retry(timeout=1.0, total=0)  # closing need not be waited for
    started = time.perf_counter()
    try:
        link.call(env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION]), 2.0)
    except BridgeError as error:
        return Problem(
            "steps" if what == "step" else what,
            f"server lost: {waited}, and then the server itself did not answer: {error.args[0]}",
            "Look at the server's log: it died or hangs, or the network between broke.",
        )
    answered = (time.perf_counter() - started) * 1000
    return Problem(
        "steps" if what == "step" else what,
        f"environment slow: {waited}, while the server itself answers in {answered:.1f} ms",
        f"Look at what the environment waits for in {what}(); if it needs that long, give make() a larger timeout.",
    )
