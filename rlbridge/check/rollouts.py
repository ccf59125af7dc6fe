"""Rollouts: steps of a batch whose actions are chosen at the server. Uniform ones, which need no policy."""

from __future__ import annotations

import hashlib

from rlbridge.check.peer import Outcome, Peer, Request, Response, described, outcome_of
from rlbridge.check.result import Failed, Skipped, expect
from rlbridge.check.sequence import replayed
from rlbridge.check.subject import Subject
from rlbridge.client.rollout import RolloutResult
from rlbridge.play.actions import actions_of
from rlbridge.v1 import env_pb2

_STEPS = 6


def rollout(subject: Subject) -> str:
    """A rollout makes the steps that it tells: its actions, sent one by one in a like session, lead to the same."""
    peer, reference = _batch(subject), _batch(subject)
    peer.start()
    reference.start()
    told = _rolled_out(peer, peer.rollout_request(_STEPS)).rollout
    space = peer.actions.space
    chosen = RolloutResult.of(told, peer.n, space, lambda step: step).action
    seen = [outcome_of(Response(step=step)) for step in told.steps]
    expected: list[Outcome] = []
    for raw in chosen:
        action = peer.actions.stack(list(actions_of(space).to_environment(raw)))
        expected.append(outcome_of(reference.executed(reference.step_request(action))))
    # Both have made the same steps, if the rollout did: so does the next one, by message.
    seen.append(outcome_of(peer.executed(peer.step_request())))
    expected.append(outcome_of(reference.executed(reference.step_request())))
    if subject.trajectory is None:
        return f"{len(chosen)} steps (the environment does not repeat itself under a seed: they were not compared)"
    expect(seen == expected, "what the same actions lead to by message", "something else")
    return f"{len(chosen)} steps"


def rollout_twice(subject: Subject) -> str:
    """A rollout whose number is kept is not made again: the same steps return, replayed = true."""
    peer = _batch(subject)
    peer.start()
    request = peer.rollout_request(_STEPS)
    replayed(peer, request, _rolled_out(peer, request))
    expect(peer.seq == request.rollout.seq + 1, "one number for all its steps", peer.seq)
    return "made once"


def rollout_chance(subject: Subject) -> str:
    """What is drawn depends on the seed, the step and the row alone, not on how the steps are shared out."""
    whole, parts = _batch(subject), _batch(subject)
    whole.start()
    parts.start()
    half = _STEPS // 2
    expected = _rolled_out(whole, whole.rollout_request(_STEPS)).rollout
    drawn = [_rolled_out(parts, parts.rollout_request(half, first_step=first)).rollout for first in (0, half)]
    if len(expected.steps) < _STEPS or sum(len(part.steps) for part in drawn) < _STEPS:
        raise Skipped(f"{_STEPS} steps do not fit into an answer")
    same = b"".join(part.action for part in drawn) == expected.action
    expect(same, f"the actions of {_STEPS} steps", f"other ones for {half} and {half}")
    return "the same actions"


def rollout_policies(subject: Subject) -> str:
    """A policy that the session does not hold is refused with UNKNOWN_POLICY, and no model with INVALID_POLICY."""
    peer = _batch(subject)
    peer.start()
    model = b"this is no model"
    for reason, sent in (("UNKNOWN_POLICY", b""), ("INVALID_POLICY", model)):
        request = peer.rollout_request(_STEPS, env_pb2.SAMPLING_DETERMINISTIC)
        request.rollout.policy.sha256 = hashlib.sha256(model).digest()
        request.rollout.policy.kind = "categorical" if hasattr(peer.actions.space, "n") else "deterministic"
        request.rollout.policy.model = sent
        peer.refused(request, reason, "a policy without its model" if not sent else "bytes that are no model")
    peer.move()
    return "refused, and the number stays free"


def _batch(subject: Subject) -> Peer:
    """A batch that can be rolled out.

    Raises:
        Skipped: the environment is not offered with autoreset.
    """
    modes = [mode for mode in subject.offer.autoreset_modes if mode != env_pb2.AUTORESET_MODE_DISABLED]
    if not modes:
        raise Skipped("the environment does not offer autoreset")
    return subject.open(num_envs=subject.batch_size(), autoreset_mode=modes[0])


def _rolled_out(peer: Peer, request: Request) -> Response:
    """Send a rollout that must be made, as far as its steps fit into an answer.

    Raises:
        Skipped: no action of this kind is drawn at a server.
    """
    response = peer.ask(request)
    if response.error.reason == "UNSUPPORTED":
        raise Skipped(f"the server draws no such actions: {response.error.message[:200]}")
    wanted, seq = request.rollout.steps, request.rollout.seq
    told = response.rollout
    if not 1 <= len(told.steps) <= wanted or told.seq != seq or told.HasField("error"):
        count = f" of {len(told.steps)} steps" if response.HasField("rollout") else ""
        raise Failed(f"an answer to rollout {seq} of 1 to {wanted} steps", described(response) + count)
    return response
