"""The server before any session: who it is, whether it lets this client in, how far away it is, whether it has room."""

from __future__ import annotations

import statistics
import time

from rlbridge.client.link import Link
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.place import Place
from rlbridge.doctor.refusal import refused
from rlbridge.v1 import env_pb2
from rlbridge.version import __version__
from rlbridge.wire import PROTOCOL_VERSION
from rlbridge.wire.errors import BridgeError

_CALLS = 21
_FAR_MS = 100.0


def examine_service(
    link: Link, place: Place, token_given: bool, deadline: Deadline
) -> tuple[env_pb2.DescribeResponse, Finding]:
    """Shake hands with the server: token, protocol version, environment.

    Raises:
        Problem: it does not let this client in, is no rlbridge server, or one of another version.
    """
    request = env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION], client=f"rlbridge {__version__} doctor")
    try:
        server: env_pb2.DescribeResponse = link.call(request, deadline.within(5.0))
    except BridgeError as error:
        raise refused("server", error, token_given) from error
    name = server.server or "an unknown server"
    if server.protocol_version != PROTOCOL_VERSION:
        versions = list(server.protocol_versions)
        older = "server" if versions and max(versions) < PROTOCOL_VERSION else "client"
        raise Problem(
            "server",
            f"version skew: the server ({name}) speaks protocol {', '.join(map(str, versions)) or 'none'}, this client "
            f"(rlbridge {__version__}) {PROTOCOL_VERSION}",
            f"Install matching versions of rlbridge on both sides: the {older} is the older one.",
        )
    offers = [offer.name for offer in server.environments]
    if place.target.environment and place.target.environment not in offers:
        raise Problem(
            "server",
            f"unknown environment: {place.target.environment!r} is not served there; on offer: {', '.join(offers)}",
            "Use one of those names in the target, or none for the first.",
        )
    shown = ", ".join(offers[:5]) + (f" and {len(offers) - 5} more" if len(offers) > 5 else "")
    token = "token accepted" if token_given else "no token given, none wanted"
    return server, Finding("server", "ok", f"{name}, protocol {PROTOCOL_VERSION}, {token}; offers {shown}")


def examine_round_trip(link: Link, token_given: bool, deadline: Deadline) -> Finding:
    """Time small calls.

    Raises:
        Problem: the server stops answering them.
    """
    times: list[float] = []
    end = time.monotonic() + deadline.within(3.0)
    while len(times) < _CALLS and (not times or time.monotonic() < end):
        started = time.perf_counter()
        try:
            link.call(env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION]), deadline.within(5.0))
        except BridgeError as error:
            raise refused("round trip", error, token_given) from error
        times.append((time.perf_counter() - started) * 1000)
    median = statistics.median(times)
    found = f"{median:.1f} ms, the median of {len(times)} small calls; the slowest took {max(times):.1f} ms"
    if median > _FAR_MS:
        advice = (
            "Every step pays this: bring the trainer nearer to the environment, or put more environments in a batch."
        )
        return Finding("round trip", "warning", f"far away or overloaded: {found}", advice)
    return Finding("round trip", "ok", found)


def examine_capacity(server: env_pb2.DescribeResponse) -> Finding:
    """Whether the server takes another session.

    Raises:
        Problem: every session is taken.
    """
    limits = server.limits
    if not limits.max_sessions:
        return Finding("capacity", "ok", "the server states no limit")
    found = f"{limits.open_sessions} of {limits.max_sessions} sessions are open"
    advice = "Close sessions that nobody uses, wait for their leases to run out, or serve with a larger --max-sessions."
    if limits.open_sessions >= limits.max_sessions:
        raise Problem("capacity", f"server overloaded: {found}, it takes no more", advice)
    if limits.open_sessions >= 0.9 * limits.max_sessions:
        return Finding("capacity", "warning", f"nearly full: {found}", advice)
    return Finding("capacity", "ok", found)
