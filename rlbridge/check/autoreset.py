"""The ends of episodes: autoreset modes, final observations, truncation apart from termination."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import gymnasium
import numpy as np

from rlbridge.check.peer import SEED, Outcome, Peer
from rlbridge.check.result import Skipped, expect
from rlbridge.check.subject import SEARCH_SECONDS, Subject
from rlbridge.v1 import env_pb2

NEXT_STEP = env_pb2.AUTORESET_MODE_NEXT_STEP
SAME_STEP = env_pb2.AUTORESET_MODE_SAME_STEP
DISABLED = env_pb2.AUTORESET_MODE_DISABLED


@dataclass
class _End:
    """A batch just after the first step in which an episode ended.

    Attributes:
        rows: whose episodes ended.
        step: the answer.
        before: the observation before it.
        alike: rows that did, up to here, what single environments with their seeds and actions do, each with its
            (last observation, first observation after the reset) as the rows' blocks.
    """

    peer: Peer
    rows: list[int]
    step: env_pb2.StepResponse
    before: list[bytes]
    alike: dict[int, tuple[list[bytes], list[bytes]]]

    def row(self, blocks: list[bytes], row: int) -> list[bytes]:
        """One row's observation."""
        return self.peer.observations.row(blocks, row, self.peer.n)


def _flagged(flags: bytes) -> list[int]:
    return [row for row, flag in enumerate(flags) if flag]


def _ends(step: env_pb2.StepResponse) -> list[int]:
    return sorted({*_flagged(step.terminated), *_flagged(step.truncated)})


def _until_an_end(subject: Subject, mode: env_pb2.AutoresetMode) -> _End:
    """Open a batch and step it until an episode ends.

    Raises:
        Skipped: the environment is not offered with this mode, or no episode ends.
    """
    if mode not in subject.offer.autoreset_modes:
        raise Skipped("the environment does not offer this mode")
    n = subject.batch_size()
    lives = [subject.episode(row) for row in range(n)]
    peer = subject.open(num_envs=n, autoreset_mode=mode)
    told = peer.opened.autoreset_mode
    expect(told == mode, f"{env_pb2.AutoresetMode.Name(mode)} in effect", env_pb2.AutoresetMode.Name(told))
    observation = peer.start(SEED)[0]
    compared = subject.resets_repeat
    alike = {
        row: compared and peer.observations.row(observation, row, n) == _single(peer, lives[row][0][0])
        for row in range(n)
    }
    end = time.monotonic() + SEARCH_SECONDS
    for t in range(1, subject.steps + 1):
        before = observation
        step = peer.executed(peer.step_request()).step
        observation = list(step.observation)
        rows = _ends(step)
        for row in range(n):
            alike[row] &= t < len(lives[row]) - 1 and _flags_alike(lives[row][t], step, row)
            if row not in rows:
                alike[row] &= peer.observations.row(observation, row, n) == _single(peer, lives[row][t][0])
        if rows:
            pairs = {
                row: (_single(peer, lives[row][t][0]), _single(peer, lives[row][-1][0])) for row in rows if alike[row]
            }
            return _End(peer, rows, step, before, pairs)
        if time.monotonic() > end:
            break
    raise Skipped(f"no episode of a batch ended in {subject.steps} steps or {SEARCH_SECONDS:g} s")


def _single(peer: Peer, blocks: list[bytes]) -> list[bytes]:
    return peer.observations.row(blocks, 0, 1)


def _flags_alike(single: Outcome, step: env_pb2.StepResponse, row: int) -> bool:
    return single[2] == step.terminated[row : row + 1] and single[3] == step.truncated[row : row + 1]


def _note(end: _End, seen: str) -> str:
    if end.alike:
        return seen
    return f"{seen} (the environment does not repeat itself under a seed: observations were not compared)"


def next_step(subject: Subject) -> str:
    """NEXT_STEP: the step after the end resets that row, with reward 0, neither flag, was_reset = 1, no final_rows.

    The rows that did not end are stepped as ever.
    """
    end = _until_an_end(subject, NEXT_STEP)
    expect(not end.step.final_rows, "no final_rows in the step that ends", list(end.step.final_rows))
    expect(not _flagged(end.step.was_reset), "no was_reset in the step that ends", _flagged(end.step.was_reset))
    after = end.peer.executed(end.peer.step_request()).step
    expect(_flagged(after.was_reset) == end.rows, f"was_reset of rows {end.rows}", _flagged(after.was_reset))
    rewards = np.frombuffer(after.reward, np.float64)
    for row in end.rows:
        expect(rewards[row] == 0.0, f"reward 0 in the step that resets row {row}", rewards[row])
        expect(row not in _ends(after), f"neither flag in the step that resets row {row}", "one")
        if row in end.alike:
            same = end.row(list(after.observation), row) == end.alike[row][1]
            expect(same, f"row {row}: the first observation of its next episode", "another observation")
    again = end.peer.executed(end.peer.step_request()).step
    expect(not set(_flagged(again.was_reset)) & set(end.rows), "an ordinary step after that", "was_reset once more")
    return _note(end, f"rows {end.rows} reset in the step after")


def same_step(subject: Subject) -> str:
    """SAME_STEP: the step that ends an episode also resets; final_rows names the rows, ascending; none is was_reset."""
    end = _until_an_end(subject, SAME_STEP)
    rows = list(end.step.final_rows)
    expect(rows == end.rows, f"final_rows {end.rows}, the rows with a flag", rows)
    expect(not _flagged(end.step.was_reset), "no was_reset", _flagged(end.step.was_reset))
    for row, (_, first) in end.alike.items():
        same = end.row(list(end.step.observation), row) == first
        expect(same, f"row {row}: the first observation of its next episode", "another observation")
    after = end.peer.executed(end.peer.step_request()).step
    expect(not _flagged(after.was_reset), "an ordinary step after that", "was_reset")
    return _note(end, f"rows {end.rows} reset in the same step")


def final_observation(subject: Subject) -> str:
    """SAME_STEP: final_observation holds the last observations of the ended rows, copied before the reset."""
    end = _until_an_end(subject, SAME_STEP)
    rows, told = list(end.step.final_rows), list(end.step.final_observation)
    end.peer.observations.unpack_batch(told, len(rows))
    for i, row in enumerate(rows):
        if row in end.alike:
            last, first = end.alike[row]
            seen = end.peer.observations.row(told, i, len(rows))
            other = "the first one of the next episode" if seen == first else "another observation"
            expect(seen == last, f"row {row}: the last observation of its episode", other)
    return _note(end, f"of rows {rows}")


def disabled(subject: Subject) -> str:
    """DISABLED: stepping an ended row is refused with NEEDS_RESET, until reset_mask resets it; others stay as they are.

    The refused step does not use up its number; rows that were not reset repeat their last observation.
    """
    end = _until_an_end(subject, DISABLED)
    peer, n = end.peer, end.peer.n
    expect(not end.step.final_rows, "no final_rows", list(end.step.final_rows))
    number = peer.seq
    peer.refused(peer.step_request(), "NEEDS_RESET", f"a step where rows {end.rows} have ended")
    expect(peer.seq == number, f"the number {number} still free", peer.seq)
    if not subject.has("reset_mask"):
        peer.executed(peer.reset_request())
        peer.executed(peer.step_request())
        return _note(end, "refused; without the capability reset_mask, all rows were reset")
    mask = bytes(row in end.rows for row in range(n))
    answer = peer.executed(peer.reset_request(mask=mask)).reset
    for row in range(n):
        seen = end.row(list(answer.observation), row)
        if row not in end.rows:
            same = seen == end.row(list(end.step.observation), row)
            expect(same, f"row {row}, not reset: its last observation", "another one")
        elif row in end.alike:
            expect(seen == end.alike[row][1], f"row {row}: the first observation of its next episode", "another one")
    peer.executed(peer.step_request())
    return _note(end, f"rows {end.rows} reset by a mask")


def modes(subject: Subject) -> str:
    """A mode that the environment does not offer is refused with UNSUPPORTED."""
    absent = [mode for mode in (NEXT_STEP, SAME_STEP, DISABLED) if mode not in subject.offer.autoreset_modes]
    if not absent:
        raise Skipped("the environment offers all three modes")
    n = subject.batch_size()
    for mode in absent:
        name = env_pb2.AutoresetMode.Name(mode)
        subject.open_refused("UNSUPPORTED", f"{name}, which is not on offer", num_envs=n, autoreset_mode=mode)
    return f"{len(absent)} refused"


def truncation(subject: Subject) -> str:
    """truncated and terminated are told apart: an episode cut by a time limit is truncated, not terminated.

    Which it was only the environment knows. So: where the local Gymnasium has an environment of that name with a time
    limit, an episode that lasts exactly so long must be truncated and not terminated; and elsewhere, of the truncated
    episodes that were seen, not every one may be terminated too. Skipped where no such episode comes up.
    """
    limit = _time_limit(subject.environment)
    both = cut = 0
    for steps, terminated, truncated in _played(subject):
        if steps == limit:
            what = f"an episode of {subject.environment} ended by its limit of {limit} steps: truncated, not terminated"
            expect(truncated and not terminated, what, f"terminated = {terminated}, truncated = {truncated}")
            return f"truncated after {steps} steps"
        cut += truncated
        both += truncated and terminated
        if cut > both:
            return f"truncated, and not terminated, after {steps} steps"
        expect(both < 3, "truncated without terminated at least once in three", "both flags every time")
    raise Skipped(f"no episode was truncated alone in {subject.steps} steps or {SEARCH_SECONDS:g} s")


def _time_limit(environment: str) -> int | None:
    try:
        return gymnasium.spec(environment).max_episode_steps
    except (gymnasium.error.Error, ValueError):
        return None


def _played(subject: Subject) -> Iterator[tuple[int, bool, bool]]:
    """Episodes of a single environment: how many steps each took, and its last flags."""
    peer = subject.open()
    observation = peer.start()[0]
    steps = 0
    end = time.monotonic() + SEARCH_SECONDS
    for _ in range(subject.steps):
        action = _balance(peer, observation) if subject.environment.startswith("CartPole-v") else None
        answer = peer.executed(peer.step_request(action)).step
        observation = list(answer.observation)
        steps += 1
        if peer.over:
            yield steps, answer.terminated == b"\x01", answer.truncated == b"\x01"
            steps, observation = 0, peer.move()[0]
        if time.monotonic() > end:
            return


def _balance(peer: Peer, observation: list[bytes]) -> list[bytes]:
    """Keeps a CartPole up for its whole 500 steps, which random actions never do."""
    x, v, angle, turning = peer.observations.unpack(observation)
    return peer.actions.pack(int(0.02 * x + 0.08 * v + angle + 0.4 * turning > 0))
