"""Lost connections: a session belongs to the server, not to a connection."""

from __future__ import annotations

import secrets

from rlbridge.check.peer import Outcome, Peer, Response, described, outcome_of
from rlbridge.check.result import Failed, Skipped, expect
from rlbridge.check.subject import MOVES, Subject
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError, encode_error


def one_by_one(subject: Subject) -> str:
    """Reset and Step work one request at a time, as unary calls, and an error there carries its reason."""
    peer = subject.open()
    peer.streaming = False
    try:
        outcomes = [peer.start(), *(peer.move() for _ in range(3))]
    except (KeyError, TypeError) as error:
        raise Skipped(f"this transport has no unary Reset and Step in the client ({error})") from error
    wrong = peer.reset_request()
    wrong.reset.epoch ^= 1
    peer.refused(wrong, "EPOCH_CHANGED", "another epoch")
    return subject.compare(outcomes, "unary calls")


def exchange(subject: Subject) -> str:
    """Exchange answers requests in order; an error is an answer and the stream goes on; only the first names a session.

    A step, one of another epoch, and a step go over one stream. (Each is sent when the one before is
    answered: this client's stream holds one request at a time.)
    """
    peer = subject.open()
    outcomes = [peer.start()]
    first = peer.step_request()
    wrong = peer.step_request(list(first.step.action), seq=peer.seq + 1)
    wrong.step.epoch ^= 1
    second = peer.step_request(seq=peer.seq + 1)
    for request in (wrong, second):
        request.step.ClearField("session")
    answers = [peer.ask(request) for request in (first, wrong, second)]
    kinds = [str(answer.WhichOneof("response")) for answer in answers]
    expect(kinds == ["step", "error", "step"], "step, error, step", ", ".join(map(described, answers)))
    error = answers[1]
    expect(error.error.reason == "EPOCH_CHANGED", "EPOCH_CHANGED", described(error))
    expect(error.error_seq == wrong.step.seq, f"error_seq {wrong.step.seq}", error.error_seq)
    numbers = [answers[0].step.seq, answers[2].step.seq]
    expect(numbers == [first.step.seq, second.step.seq], "the answers in order", numbers)
    outcomes.append(outcome_of(answers[0]))
    return subject.compare(outcomes, "a refused request between")


def drop_mid_step(subject: Subject) -> str:
    """A connection lost during a step loses nothing: the same seq over a new one gets the one outcome of that step.

    Lost before the answer came, where the step may not even have arrived, and after, where it must be a replay.
    """
    peer = subject.open()
    outcomes = [peer.start()]
    for i in range(6):
        if peer.over:
            outcomes.append(peer.move())
        outcomes.append(_through_a_drop(subject, peer, peer.step_request(), lose_answer=bool(i % 2)))
    outcomes += [peer.move() for _ in range(2)]
    return subject.compare(outcomes[: MOVES + 1], "drops")


def drop_mid_reset(subject: Subject) -> str:
    """A connection lost during a reset loses nothing: the same seq over a new one gets the outcome of that reset."""
    reference, peer = subject.open(), subject.open()
    expected, seen = [reference.start()], [peer.start()]
    for lose_answer in (False, True):
        expected.append(outcome_of(reference.executed(reference.reset_request())))
        seen.append(_through_a_drop(subject, peer, peer.reset_request(), lose_answer))
    if subject.resets_repeat:
        expect(seen == expected, "the observations of a session without drops", "other ones: reset twice, or not once")
    return "one reset for each"


def _through_a_drop(subject: Subject, peer: Peer, request: env_pb2.ExchangeRequest, lose_answer: bool) -> Outcome:
    kind = str(request.WhichOneof("request"))
    if not peer.streaming:
        raise Skipped("needs the capability exchange, to lose a connection on purpose")
    peer.link.send(request)
    if lose_answer:  # it was executed, and the client never learns of it
        peer.link.receive(subject.timeout)
    peer.reconnect(subject.has("resume"))
    getattr(request, kind).session.CopyFrom(peer.ref)
    answer = peer.answered(request)
    if lose_answer:
        expect(getattr(answer, kind).replayed, f"the kept outcome of {kind}, replayed = true", described(answer))
    return outcome_of(answer)


def resume(subject: Subject) -> str:
    """Resume gives what Open gave, with a higher attachment, the present next_seq, and the newest outcome."""
    peer = subject.open()
    peer.start()
    before = peer.resume()
    expect(before.session.session.attachment > peer.ref.attachment, "a higher attachment", "no higher one")
    peer.ref = before.session.session
    last = peer.executed(peer.step_request())
    answer = peer.resume()
    expect(answer.session.next_seq == peer.seq, f"next_seq {peer.seq}", answer.session.next_seq)
    expect(answer.session.session.attachment > peer.ref.attachment, "a higher attachment again", "no higher one")
    expect(answer.session.session.id == peer.ref.id, "the same session", answer.session.session.id)
    expect(answer.session.epoch == peer.epoch, "the same epoch", answer.session.epoch)
    expect(answer.session.observation_space == peer.opened.observation_space, "the same spaces", "others")
    oldest = max(1, peer.seq - peer.opened.kept_outcomes)
    expect(answer.oldest_kept_seq == oldest, f"oldest_kept_seq {oldest}", answer.oldest_kept_seq)
    expect(answer.HasField("last_outcome"), "the newest outcome", "none")
    same = answer.last_outcome.step.seq == last.step.seq and outcome_of(answer.last_outcome) == outcome_of(last)
    expect(same, f"the outcome of step {last.step.seq}", described(answer.last_outcome))
    peer.ref = answer.session.session
    peer.move()
    return "as expected"


def fencing(subject: Subject) -> str:
    """After a Resume the older holder is refused with SUPERSEDED, in KeepAlive and Close too, and touches nothing."""
    peer = subject.open()
    outcomes = [peer.start()]
    old, new = peer.ref, peer.resume().session.session
    peer.refused(peer.reset_request(), "SUPERSEDED", "a request of the older holder")
    calls: list[tuple[str, object]] = [("Close", env_pb2.CloseRequest(session=old, epoch=peer.epoch))]
    if subject.has("keepalive"):
        calls.insert(0, ("KeepAlive", env_pb2.KeepAliveRequest(session=old, epoch=peer.epoch)))
    for name, request in calls:
        answer = _called(subject, request)
        expect(answer.error.reason == "SUPERSEDED", f"SUPERSEDED for {name} of the older holder", described(answer))
    peer.ref = new
    outcomes += [peer.move() for _ in range(3)]
    return subject.compare(outcomes, "the older holder's requests")


def late_resume(subject: Subject) -> str:
    """A Resume that arrives after a later attempt of the same holder is refused with SUPERSEDED, and fences nobody off.

    The holder is the open_key; its attempts may leave numbers out.
    """
    peer, key = _opened_by(subject)
    outcomes = [peer.start()]
    for attempt, late in ((1, 1), (4, 3)):
        peer.ref = peer.resume(key, attempt).session.session
        _superseded(peer, f"attempt {late} after attempt {attempt}", key, late)
        outcomes.append(peer.move())
    return subject.compare(outcomes, "a late Resume")


def take_over(subject: Subject) -> str:
    """Another holder is refused with SUPERSEDED, unless it takes over; then the one before is, unless it takes over."""
    peer, key = _opened_by(subject)
    other = secrets.token_bytes(16)
    outcomes = [peer.start()]
    _superseded(peer, "another holder that does not take over", other, 1)
    outcomes.append(peer.move())  # the refused one has fenced nobody off
    for holder, before in ((other, key), (key, other)):
        peer.ref = peer.resume(holder, 7, take_over=True).session.session
        _superseded(peer, "the holder before, which does not take over", before, 8)
        outcomes.append(peer.move())
    return subject.compare(outcomes, "two holders")


def _opened_by(subject: Subject) -> tuple[Peer, bytes]:
    key = secrets.token_bytes(16)
    return subject.open(open_key=key), key


def _superseded(peer: Peer, what: str, holder: bytes, attempt: int) -> None:
    try:
        peer.resume(holder, attempt)
    except BridgeError as error:
        expect(error.reason == "SUPERSEDED", f"SUPERSEDED for {what}", f"{error.reason} ({error.args[0]})")
        return
    raise Failed(f"SUPERSEDED for {what}", "the session was resumed")


def _called(subject: Subject, request: object) -> Response:
    try:
        subject.link.call(request, subject.timeout)
    except BridgeError as error:
        return Response(error=encode_error(error))
    return Response()


def unknown_resume(subject: Subject) -> str:
    """Resume of a session that was closed is refused with SESSION_EXPIRED."""
    peer = subject.open()
    peer.close()
    try:
        peer.resume()
    except BridgeError as error:
        expect(error.reason == "SESSION_EXPIRED", "SESSION_EXPIRED", f"{error.reason} ({error.args[0]})")
        return "refused"
    raise Failed("SESSION_EXPIRED", "the closed session was resumed")
