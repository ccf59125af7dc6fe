"""Actions that do not fit the action space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium import spaces

from rlbridge.check.peer import Peer, outcome_of
from rlbridge.check.result import Skipped, expect
from rlbridge.check.subject import Subject
from rlbridge.wire.blocks import FixedLeaf


def bad_actions(subject: Subject) -> str:
    """An action that does not fit the action space is refused with INVALID_ACTION and nothing is stepped.

    Its number stays free. Tried: too many blocks and too few, blocks of a wrong size, integers outside Discrete,
    MultiDiscrete and MultiBinary spaces, NaN in a Box, bytes that are no SampleBatch. Numbers outside a Box are not
    tried: a server may be set to clip them.
    """
    peer = subject.open()
    outcomes = [peer.start()]
    tried = 0
    for what, blocks in _bad(peer):
        number = peer.seq
        peer.refused(peer.step_request(blocks), "INVALID_ACTION", what)
        expect(peer.seq == number, f"the number {number} still free after {what}", peer.seq)
        tried += 1
    outcomes += [peer.move() for _ in range(3)]
    return subject.compare(outcomes, "bad actions") + f", {tried} bad actions refused"


def bad_batch_action(subject: Subject) -> str:
    """One bad row in a batch's action refuses the whole step with INVALID_ACTION; no row is stepped."""
    n = subject.batch_size()
    peer, reference = subject.open(num_envs=n), subject.open(num_envs=n)
    peer.start()
    reference.start()
    action = reference.action()
    if not action:
        raise Skipped("the action space has no leaves")
    peer.refused(peer.step_request(action[:-1]), "INVALID_ACTION", "a missing block")
    bad = [*action[:-1], action[-1][:-1] if action[-1] else b"\0"]
    peer.refused(peer.step_request(bad), "INVALID_ACTION", "a block of a wrong size")
    expected = outcome_of(reference.executed(reference.step_request(action)))
    seen = outcome_of(peer.executed(peer.step_request(action)))
    if subject.trajectory is not None:
        expect(seen == expected, "the step that comes without the bad ones", "another one: something was stepped")
    return "refused"


def _bad(peer: Peer) -> Iterator[tuple[str, list[bytes]]]:
    good = peer.actions.pack(peer.actions.space.sample())
    yield "one block too many", [*good, b""]
    if good:
        yield "no blocks", []
    for i, leaf in enumerate(peer.actions.leaves):

        def changed(block: bytes, at: int = i) -> list[bytes]:
            return [*good[:at], block, *good[at + 1 :]]

        where = f"leaf {leaf.path!r}" if leaf.path else "the action"
        if not isinstance(leaf, FixedLeaf):
            yield f"{where} with bytes that are no SampleBatch", changed(b"\xff")
            yield f"{where} without a sample", changed(b"")
            continue
        yield f"{where} with a byte too many", changed(good[i] + b"\0")
        if not leaf.nbytes:
            continue
        yield f"{where} with a byte too few", changed(good[i][:-1])
        for value in _outside(leaf):
            yield f"{where} = {value}", changed(np.full(leaf.shape, value, leaf.dtype).tobytes())


def _outside(leaf: FixedLeaf) -> Iterator[int | float]:
    space = leaf.space
    if isinstance(space, spaces.Box):
        if leaf.dtype.kind == "f":
            yield float("nan")
        return
    if isinstance(space, spaces.Discrete):
        low, high = int(space.start), int(space.start) + int(space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = int(np.min(space.start)), int(np.max(space.start + space.nvec))
    else:
        low, high = 0, 2
    info = np.iinfo(leaf.dtype)
    for value in (high, low - 1):
        if info.min <= value <= info.max:
            yield value
