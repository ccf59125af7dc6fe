"""Seeds: the same one twice, zero, and the rows of a batch."""

from __future__ import annotations

from rlbridge.check.peer import SEED, Outcome
from rlbridge.check.result import expect
from rlbridge.check.subject import MOVES, Subject


def seeds(subject: Subject) -> str:
    """Two sessions that are reset with the same seed and stepped with the same actions see the same.

    Not deterministic is a failure, whosoever's it is: from here a server that drops the seed and an environment that
    ignores it look the same, and to a trainer they are. An environment that cannot be seeded at all, as a real plant,
    has an honest way out: it answers a seed with UNSUPPORTED, and this check is skipped.
    """
    return _twice(subject, SEED)


def seed_zero(subject: Subject) -> str:
    """0 is a seed; absence is not: two resets with seed 0 see the same."""
    return _twice(subject, 0)


def _twice(subject: Subject, seed: int) -> str:
    runs: list[list[Outcome]] = []
    for _ in range(2):
        peer = subject.open()
        runs.append([peer.seeded(seed), *(peer.move() for _ in range(MOVES))])
    for i, (first, second) in enumerate(zip(*runs, strict=True)):
        what = "reset" if i == 0 else f"request {i + 1}"
        expect(
            first == second,
            f"the same after seed {seed} twice",
            f"not deterministic: {what} differs between two sessions with seed {seed} and the same actions. The server "
            "does not hand the seed on, or the environment does not keep to it",
        )
    return f"the same {MOVES + 1} answers"


def seeded_again(subject: Subject) -> str:
    """A seed begins anew: a session that is seeded a second time sees what a new session with that seed sees."""
    peer, fresh = subject.open(), subject.open()
    expected = fresh.seeded(SEED + 1)
    peer.seeded(SEED)
    peer.move()
    seen = peer.seeded(SEED + 1)
    if subject.trajectory is not None and _same_when_repeated(subject):
        expect(seen == expected, "the first observation of a new session with that seed", "another one")
        return "the same first observation"
    return "answered (the environment counts its episodes, so observations were not compared)"


def _same_when_repeated(subject: Subject) -> bool:
    """Whether one and the same session gives the same first observation for the same seed twice."""
    peer = subject.open()
    return peer.seeded(SEED) == peer.seeded(SEED)


def batch_rows(subject: Subject) -> str:
    """A batch's seed means seed + i for row i: each row sees what a single environment with that seed sees."""
    n = subject.batch_size()
    singles = [subject.open(stream=row) for row in range(n)]
    batch = subject.open(num_envs=n)
    expected = [[peer.seeded(SEED + row)] for row, peer in enumerate(singles)]
    seen = [batch.seeded(SEED)]
    if subject.trajectory is None:
        return "answered (the environment does not repeat itself under a seed: the numbers were not compared)"
    for _ in range(MOVES):
        for row, peer in enumerate(singles):
            expected[row].append(peer.move())
        answer = batch.executed(batch.step_request()).step
        seen.append((list(answer.observation), answer.reward, answer.terminated, answer.truncated))
        if any(peer.over for peer in singles):
            break
    for t, (blocks, reward, terminated, truncated) in enumerate(seen):
        for row in range(n):
            got = (
                batch.observations.row(blocks, row, n),
                reward[8 * row : 8 * row + 8],
                terminated[row : row + 1],
                truncated[row : row + 1],
            )
            single = expected[row][t]
            # A step that ends an episode shows the next one's observation in SAME_STEP.
            ended = b"\x01" in single[2:]
            want = (batch.observations.row(single[0], 0, 1), *single[1:])
            same = got[1:] == want[1:] if ended else got == want
            what = "reset" if t == 0 else f"step {t}"
            expect(same, f"row {row} as a single environment with seed {SEED + row}", f"{what} differs")
    return f"{n} rows over {len(seen) - 1} steps"


def row_seeds(subject: Subject) -> str:
    """row_seeds seeds each row with its own: seed s for a batch is the same as row_seeds s, s + 1, ..."""
    n = subject.batch_size()
    first, second = subject.open(num_envs=n), subject.open(num_envs=n)
    expected = first.seeded(SEED)
    request = second.reset_request()
    for row in range(n):
        request.reset.row_seeds.add(seed=SEED + row)
    seen = second.executed(request).reset
    if subject.trajectory is not None:
        expect(list(seen.observation) == expected[0], "the observations of the batch's seed", "other ones")
    return f"{n} rows"
