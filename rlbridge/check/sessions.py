"""Opening and closing sessions: keys, tokens, limits on size and number."""

from __future__ import annotations

import secrets
import time

from rlbridge.check.peer import Peer
from rlbridge.check.result import Failed, Skipped, expect
from rlbridge.check.subject import SEARCH_SECONDS, Subject
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError

_MOST_SESSIONS = 128


def open_key(subject: Subject) -> str:
    """The same open_key gives the same session for as long as it lives; another key gives another one."""
    key = secrets.token_bytes(16)
    first, again = subject.open(open_key=key).opened, subject.open(open_key=key).opened
    expect(again.session.id == first.session.id, f"session {first.session.id} again", again.session.id)
    expect(again.session.token == first.session.token, "the same token again", "another one")
    other = subject.open().opened
    expect(other.session.id != first.session.id, "another session for another key", "the same one")
    expect(other.session.token != first.session.token, "a token of its own", "the other session's token")
    return "one session for one key"


def opened(subject: Subject) -> str:
    """Open answers with what was asked for, the server's epoch, a token, next_seq 1 and the mode in effect."""
    answer = subject.open().opened
    expect(answer.epoch == subject.server.epoch, f"epoch {subject.server.epoch}, as Describe says", answer.epoch)
    expect(answer.next_seq == 1, "next_seq 1", answer.next_seq)
    expect(bool(answer.session.id) and bool(answer.session.token), "an id and a token", "an empty one")
    expect(answer.num_envs == 0, "num_envs 0", answer.num_envs)
    expect(answer.environment == subject.environment, repr(subject.environment), repr(answer.environment))
    expect(answer.kept_outcomes > 0, "kept_outcomes above 0", answer.kept_outcomes)
    expect(answer.lease_ms > 0, "lease_ms above 0", answer.lease_ms)
    if subject.server.limits.max_envs:
        batch = subject.open(num_envs=1).opened
        expect(batch.num_envs == 1, "num_envs 1, a batch of one", batch.num_envs)
        modes = list(subject.offer.autoreset_modes)
        expect(batch.autoreset_mode != 0, "an autoreset mode for a batch", "UNSPECIFIED")
        expect(batch.autoreset_mode == modes[0], f"the first mode on offer, {modes[:1]}", batch.autoreset_mode)
    return "as asked for"


def close(subject: Subject) -> str:
    """Close ends a session, after which its requests get SESSION_EXPIRED; closing what is not there succeeds."""
    peer = subject.open()
    peer.start()
    peer.close()
    peer.refused(peer.step_request(), "SESSION_EXPIRED", "a step of a closed session")
    for ref in (peer.ref, env_pb2.SessionRef(id="never opened", token=b"0" * 16, attachment=1)):
        try:
            subject.link.call(env_pb2.CloseRequest(session=ref, epoch=peer.epoch), subject.timeout)
        except BridgeError as error:
            raise Failed("success for closing what is not there", f"{error.reason} ({error.args[0]})") from error
    return "ended, and closed again"


def token(subject: Subject) -> str:
    """A wrong token is answered like an unknown session, SESSION_EXPIRED, and touches nothing."""
    peer = subject.open()
    peer.start()
    real = peer.ref
    for wrong in (b"", bytes(len(real.token)), real.token[:-1], real.token + b"\0"):
        peer.ref = env_pb2.SessionRef(id=real.id, token=wrong, attachment=real.attachment)
        peer.refused(peer.next_request(), "SESSION_EXPIRED", "a wrong token")
        if subject.has("resume"):
            _refused(peer, "SESSION_EXPIRED", "Resume with a wrong token")
    peer.ref = env_pb2.SessionRef(id=real.id + "x", token=real.token, attachment=real.attachment)
    peer.refused(peer.next_request(), "SESSION_EXPIRED", "an unknown session")
    peer.ref = real
    peer.move()
    return "refused"


def _refused(peer: Peer, reason: str, what: str) -> None:
    try:
        peer.resume()
    except BridgeError as error:
        expect(error.reason == reason, f"{reason} for {what}", f"{error.reason} ({error.args[0]})")
        return
    raise Failed(f"{reason} for {what}", "the session was resumed")


def message_size(subject: Subject) -> str:
    """Open is refused with MESSAGE_TOO_LARGE, naming both numbers, where the answers would not fit the client's limit.

    OpenResponse.largest_message_bytes: the largest answer that the fixed leaves can make, infos apart. A limit of
    exactly that is accepted.
    """
    peer = subject.open()
    largest = peer.opened.largest_message_bytes
    expect(largest > 0, "largest_message_bytes above 0", largest)
    limit = largest - 1
    if limit:
        refusal = subject.open_refused("MESSAGE_TOO_LARGE", f"a limit of {limit}", max_message_bytes=limit)
        text = str(refusal.args[0])
        expect(str(largest) in text and str(limit) in text, f"a message with {largest} and {limit}", text)
    subject.open(max_message_bytes=largest)
    if any(leaf.variable for leaf in peer.opened.observation_layout):
        return f"{largest} bytes; observations have variable leaves, so no answer was measured"
    peer.start()
    answer = peer.executed(peer.step_request())
    answer.step.ClearField("info")
    expect(answer.ByteSize() <= largest, f"an answer of at most {largest} bytes", answer.ByteSize())
    return f"{largest} bytes"


def max_envs(subject: Subject) -> str:
    """A batch of more than limits.max_envs is refused with CAPACITY_EXHAUSTED."""
    limit = subject.server.limits.max_envs
    subject.open_refused("CAPACITY_EXHAUSTED", f"{limit + 1} sub-environments", num_envs=limit + 1)
    return f"refused above {limit}"


def max_sessions(subject: Subject) -> str:
    """Session limits.max_sessions + 1 is refused with CAPACITY_EXHAUSTED, and closing one makes room again.

    Skipped for limits above 128, and where opening as many takes too long. Sessions of other clients count too.
    """
    limit = subject.server.limits.max_sessions
    if limit > _MOST_SESSIONS:
        raise Skipped(f"the server allows {limit} sessions; at most {_MOST_SESSIONS} are tried")
    end = time.monotonic() + SEARCH_SECONDS
    sessions: list[env_pb2.OpenResponse] = []
    refusal = None
    try:
        while len(sessions) <= limit and refusal is None:
            try:
                sessions.append(subject.link.call(subject.open_request(), subject.timeout))
            except BridgeError as error:
                refusal = error
            if time.monotonic() > end:
                raise Skipped(f"opening {len(sessions)} sessions took more than {SEARCH_SECONDS:g} s")
        if refusal is None:
            raise Failed(f"CAPACITY_EXHAUSTED for session {limit + 1}", "it was opened")
        seen = f"{refusal.reason} ({refusal.args[0]})"
        expect(refusal.reason == "CAPACITY_EXHAUSTED", f"CAPACITY_EXHAUSTED for session {len(sessions) + 1}", seen)
        expect(bool(sessions), "at least one session", seen)
        last = sessions.pop()
        subject.link.call(env_pb2.CloseRequest(session=last.session, epoch=last.epoch), subject.timeout)
        try:
            sessions.append(subject.link.call(subject.open_request(), subject.timeout))
        except BridgeError as error:
            raise Failed("room for a session after one was closed", f"{error.reason} ({error.args[0]})") from error
    finally:
        for session in sessions:
            subject.link.call(env_pb2.CloseRequest(session=session.session, epoch=session.epoch), subject.timeout)
    return f"refused after {len(sessions)}"
