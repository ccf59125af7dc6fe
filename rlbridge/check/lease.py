"""Leases: a session whose client is silent is closed, one whose client shows itself is not."""

from __future__ import annotations

import time
from collections.abc import Callable

from rlbridge.check.peer import Peer
from rlbridge.check.result import Skipped, expect
from rlbridge.check.subject import Subject
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError

_WANTED_MS = 1_000
_LONGEST_MS = 3_000


def lease(subject: Subject) -> str:
    """A session without any request of its client for lease_ms is closed; then its requests get SESSION_EXPIRED.

    A lease of 1 s is asked for. A server may give another one: skipped where that is above 3 s. It may also be somewhat
    late in closing, up to four leases.
    """
    peer = _short(subject)
    peer.start()
    silent = peer.opened.lease_ms / 1000
    before = subject.describe().limits.open_sessions
    end = time.monotonic() + 4 * silent + 2
    time.sleep(1.1 * silent)
    while subject.describe().limits.open_sessions >= before and time.monotonic() < end:
        time.sleep(0.05)  # asking the session itself would renew its lease
    peer.refused(peer.next_request(), "SESSION_EXPIRED", f"a session silent for longer than its lease of {silent:g} s")
    return f"closed, with a lease of {silent:g} s"


def requests_renew(subject: Subject) -> str:
    """Every request of a session renews its lease: one that is stepped now and then outlives it."""
    peer = _short(subject)
    peer.start()
    return _outlives(peer, lambda: str(peer.ask(peer.next_request()).error.reason))


def keepalive(subject: Subject) -> str:
    """KeepAlive renews the lease of a session that has nothing else to say, and tells the lease."""
    peer = _short(subject)
    peer.start()
    return _outlives(peer, lambda: _kept_alive(peer))


def _kept_alive(peer: Peer) -> str:
    try:
        answer = peer.link.call(env_pb2.KeepAliveRequest(session=peer.ref, epoch=peer.epoch), peer.timeout)
    except BridgeError as error:
        return error.reason
    expect(answer.lease_ms == peer.opened.lease_ms, f"lease_ms {peer.opened.lease_ms}", answer.lease_ms)
    return ""


def _outlives(peer: Peer, renew: Callable[[], str]) -> str:
    """Renew a lease, every 0.4 of it, until 2.4 of them have passed; ``renew`` returns the reason of a refusal."""
    seconds = peer.opened.lease_ms / 1000
    last = time.monotonic()
    for _ in range(6):
        time.sleep(0.4 * seconds)
        reason = renew()
        pause, last = time.monotonic() - last, time.monotonic()
        if reason and pause > 0.9 * seconds:
            raise Skipped(f"this machine took {pause:.1f} s where it wanted to renew a lease of {seconds:g} s in time")
        expect(not reason, f"a living session, {pause:.1f} s after the last sign of its client", reason)
    peer.move()
    return "alive after 2.4 leases"


def _short(subject: Subject) -> Peer:
    peer = subject.open(lease_ms=_WANTED_MS)
    given = peer.opened.lease_ms
    expect(given > 0, "a lease in lease_ms", given)
    if given > _LONGEST_MS:
        raise Skipped(f"the server gives a lease of {given} ms where {_WANTED_MS} ms were asked for: too long to wait")
    return peer
