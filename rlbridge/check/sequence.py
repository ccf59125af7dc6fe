"""Exactly once: the table above StepRequest in env.proto, line by line."""

from __future__ import annotations

from rlbridge.check.peer import Peer, Request, Response, described, outcome_of
from rlbridge.check.result import Failed, Skipped, expect
from rlbridge.check.subject import MOVES, Subject
from rlbridge.wire.errors import BridgeError

_MOST_KEPT = 256


def numbers(subject: Subject) -> str:
    """seq = next executes: requests are numbered 1, 2, 3, ... and each answer carries its request's number."""
    peer = subject.open()
    outcomes = [peer.start(), *(peer.move() for _ in range(MOVES))]
    return f"{len(outcomes)} requests answered"


def needs_reset(subject: Subject) -> str:
    """A step before the first reset is refused with NEEDS_RESET, and its number stays free."""
    peer = subject.open()
    peer.refused(peer.step_request(), "NEEDS_RESET", "a step before the first reset")
    expect(peer.seq == 1, "the number 1 still free", peer.seq)
    peer.start()
    return "refused, its number stays free"


def replayed(peer: Peer, request: Request, first: Response) -> None:
    """Send a request a second time and hold the answer against the first one.

    Raises:
        Failed: it is not the kept outcome, marked as replayed.
    """
    kind = str(request.WhichOneof("request"))
    again = peer.answered(request)
    expect(getattr(again, kind).replayed, f"replayed = true for {kind} a second time", described(again))
    expect(_kept(again) == _kept(first), f"the kept outcome of {kind} again", f"{described(again)}, another one")


def _kept(response: Response) -> bytes:
    copy = Response()
    copy.CopyFrom(response)
    kind = str(copy.WhichOneof("response"))
    body = getattr(copy, kind)
    body.replayed = False
    for part in body.steps if kind == "rollout" else [body]:
        for field in {"env_ns", "server_ns"} & set(part.DESCRIPTOR.fields_by_name):
            part.ClearField(field)  # time spent, which a replay may tell as it likes
    return copy.SerializeToString(deterministic=True)


def duplicates(subject: Subject) -> str:
    """A kept seq with the same content returns the kept outcome, replayed = true, and the environment is not touched.

    Every request is sent three times. That the environment is not touched shows in what comes after: it must be what a
    session without duplicates gets.
    """
    peer = subject.open()
    outcomes = []
    for i in range(MOVES + 1):
        if i == 0:
            outcomes.append(peer.start())
            continue
        request = peer.next_request()
        first = peer.executed(request)
        outcomes.append(outcome_of(first))
        for _ in range(2):
            replayed(peer, request, first)
    return subject.compare(outcomes, "duplicates")


def duplicate_reset(subject: Subject) -> str:
    """A Reset that is repeated resets once: the same seq and content return the kept outcome, replayed = true.

    The reset has no seed, so that doing it twice would show in the observations of most environments.
    """
    reference, peer = subject.open(), subject.open()
    expected, seen = [reference.start()], [peer.start()]
    expected.append(outcome_of(reference.executed(reference.reset_request())))
    request = peer.reset_request()
    first = peer.executed(request)
    seen.append(outcome_of(first))
    replayed(peer, request, first)
    # A second reset would have drawn from the environment's random numbers, which the next one shows.
    expected.append(outcome_of(reference.executed(reference.reset_request())))
    seen.append(outcome_of(peer.executed(peer.reset_request())))
    if subject.resets_repeat:
        expect(seen == expected, "the observations of a session without duplicates", "other ones: it was reset twice")
    return "reset once"


def kept_outcomes(subject: Subject) -> str:
    """The last kept_outcomes outcomes can be asked for again; an older one is refused with SEQ_EXPIRED."""
    peer = subject.open()
    kept = peer.opened.kept_outcomes
    if kept > _MOST_KEPT:
        raise Skipped(f"the server keeps {kept} outcomes; at most {_MOST_KEPT} are tried")
    peer.start()
    asked: list[tuple[Request, Response]] = []
    for _ in range(kept + 2):
        request = peer.next_request()
        asked.append((request, peer.executed(request)))
    for request, first in asked[-kept:]:
        replayed(peer, request, first)
    for request, _ in asked[:-kept]:
        number = getattr(request, str(request.WhichOneof("request"))).seq
        peer.refused(request, "SEQ_EXPIRED", f"number {number}, {peer.seq - number} back, where {kept} are kept")
    peer.move()
    return f"{kept} kept, older ones refused"


def conflict(subject: Subject) -> str:
    """A kept seq with different content is refused with SEQ_CONFLICT, and the environment is not touched."""
    peer = subject.open()
    outcomes = [peer.start()]
    request = peer.next_request()
    outcomes.append(outcome_of(peer.executed(request)))
    number = request.step.seq
    peer.refused(peer.reset_request(seed=1, seq=number), "SEQ_CONFLICT", f"a Reset under the number {number} of a Step")
    other = Request()
    other.CopyFrom(request)
    for _ in range(20):
        del other.step.action[:]
        other.step.action.extend(peer.actions.pack(peer.actions.space.sample()))
        if other != request:
            peer.refused(other, "SEQ_CONFLICT", f"another action under the number {number}")
            break
    outcomes += [peer.move() for _ in range(3)]
    return subject.compare(outcomes, "conflicting requests")


def gap(subject: Subject) -> str:
    """A seq beyond the next one is refused with SEQ_GAP, details "expected" the next one; nothing is executed."""
    peer = subject.open()
    outcomes = [peer.start()]
    for ahead in (1, 2, 1000):
        outcomes.append(peer.move())
        request = peer.reset_request(seq=peer.seq + ahead)
        refusal = peer.refused(request, "SEQ_GAP", f"number {peer.seq + ahead} where {peer.seq} is next")
        told = refusal.error.details.get("expected")
        expect(told == str(peer.seq), f"expected = {peer.seq} in the details", told)
    outcomes.append(peer.move())
    return subject.compare(outcomes, "requests beyond the next number")


def epoch(subject: Subject) -> str:
    """An epoch that is not the server's is refused with EPOCH_CHANGED, and nothing is executed."""
    peer = subject.open()
    outcomes = [peer.start()]
    right = peer.epoch
    peer.epoch = right ^ 1
    peer.refused(peer.reset_request(), "EPOCH_CHANGED", "another epoch")
    if subject.has("resume"):
        try:
            peer.resume()
        except BridgeError as error:
            expect(error.reason == "EPOCH_CHANGED", "EPOCH_CHANGED for Resume", f"{error.reason} ({error.args[0]})")
        else:
            raise Failed("EPOCH_CHANGED for Resume with another epoch", "the session was resumed")
    peer.epoch = right
    outcomes += [peer.move() for _ in range(3)]
    return subject.compare(outcomes, "requests of another epoch")


def in_flight(subject: Subject) -> str:
    """A seq that is still being executed is waited for: of two equal requests at once one is executed, both answered.

    Two connections send the same Step together; which of them comes first is the network's to say.
    """
    peer = subject.open()
    outcomes = [peer.start()]
    if not peer.streaming:
        raise Skipped("needs the capability exchange, to send without waiting for the answer")
    second = subject.connect()
    for _ in range(4):
        request = peer.next_request()
        peer.link.send(request)
        second.send(request)
        answers = [peer.receive(), second.receive(subject.timeout)]
        for answer in answers:
            expect(answer.WhichOneof("response") == request.WhichOneof("request"), "two answers", described(answer))
        marks = sorted(getattr(a, str(a.WhichOneof("response"))).replayed for a in answers)
        expect(marks == [False, True], "one executed, one replayed", f"replayed = {marks}")
        expect(outcome_of(answers[0]) == outcome_of(answers[1]), "the same outcome twice", "two different ones")
        outcomes.append(outcome_of(answers[0]))
    return subject.compare(outcomes, "duplicates")
