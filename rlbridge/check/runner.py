"""The list of checks, and how one after the other is run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rlbridge.check import (
    actions,
    autoreset,
    batches,
    connections,
    handshake,
    lease,
    rollouts,
    seeds,
    sequence,
    sessions,
)
from rlbridge.check.result import Failed, Result, Skipped
from rlbridge.check.subject import Subject
from rlbridge.client.connect import open_link
from rlbridge.client.link import Link
from rlbridge.client.target import parse_target
from rlbridge.wire.errors import BridgeError

TIMEOUT = 10.0
TOTAL = 180.0
STEPS = 2_000


@dataclass(frozen=True)
class Check:
    """One rule.

    Attributes:
        run: returns what was seen, or raises ``Failed`` or ``Skipped``; its docstring's first sentence is the rule.
        needs: a capability in Describe without which it is skipped; empty where every server must pass.
    """

    run: Callable[[Subject], str]
    needs: str = ""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def rule(self) -> str:
        return " ".join((inspect.getdoc(self.run) or "").partition("\n\n")[0].split())


CHECKS = (
    Check(handshake.describe),
    Check(handshake.version_refused),
    Check(handshake.unknown_environment),
    Check(handshake.unimplemented),
    Check(handshake.spaces, "spaces"),
    Check(handshake.layouts),
    Check(sessions.opened),
    Check(sessions.open_key),
    Check(sessions.close),
    Check(sessions.token),
    Check(batches.blocks),
    Check(batches.infos),
    Check(batches.render, "render"),
    Check(sequence.numbers),
    Check(sequence.needs_reset),
    Check(sequence.duplicates),
    Check(sequence.duplicate_reset),
    Check(sequence.kept_outcomes),
    Check(sequence.conflict),
    Check(sequence.gap),
    Check(sequence.epoch),
    Check(sequence.in_flight, "exchange"),
    Check(actions.bad_actions),
    Check(actions.bad_batch_action),
    Check(seeds.seeds),
    Check(seeds.seed_zero),
    Check(seeds.seeded_again),
    Check(seeds.batch_rows),
    Check(seeds.row_seeds),
    Check(autoreset.modes),
    Check(autoreset.next_step),
    Check(autoreset.same_step),
    Check(autoreset.final_observation),
    Check(autoreset.disabled),
    Check(autoreset.truncation),
    Check(connections.one_by_one),
    Check(connections.exchange, "exchange"),
    Check(connections.drop_mid_step),
    Check(connections.drop_mid_reset),
    Check(connections.resume, "resume"),
    Check(connections.fencing, "resume"),
    Check(connections.late_resume, "resume"),
    Check(connections.take_over, "resume"),
    Check(connections.unknown_resume, "resume"),
    Check(rollouts.rollout, "rollout.onnx"),
    Check(rollouts.rollout_twice, "rollout.onnx"),
    Check(rollouts.rollout_chance, "rollout.onnx"),
    Check(rollouts.rollout_policies, "rollout.onnx"),
    Check(sessions.message_size),
    Check(sessions.max_envs),
    Check(sessions.max_sessions),
    Check(lease.lease),
    Check(lease.requests_renew),
    Check(lease.keepalive, "keepalive"),
)


class UnknownCheck(ValueError):
    """No check has that name; the message lists those there are."""


def check_target(target: str, only: Sequence[str] = (), steps: int = STEPS) -> Iterator[Result]:
    """Check the server behind a target.

    Args:
        target: a remote one, with the environment that the checks use.
        only: names of checks; empty for all.
        steps: how many steps a check makes at most while it waits for an episode to end.

    Raises:
        BadTarget, UnknownCheck: the target is no server's, or a name no check's.
        BridgeError: no server answers there.
    """
    parsed = parse_target(target)
    return run_checks(lambda: open_link(parsed), parsed.environment, only, steps=steps)


def run_checks(
    connect: Callable[[], Link],
    environment: str = "",
    only: Sequence[str] = (),
    timeout: float = TIMEOUT,
    total: float = TOTAL,
    steps: int = STEPS,
) -> Iterator[Result]:
    """Run the checks, one after the other; each result comes when it is there.

    Args:
        connect: makes a link to the server.
        environment: one on offer; empty for the first.
        only: names of checks; empty for all.
        timeout: seconds allowed for each answer.
        steps: how many steps a check makes at most while it waits for an episode to end.
        total: seconds after which no further check is begun; those left over fail.

    Raises:
        UnknownCheck, BridgeError: as ``check_target``.
    """
    unknown = set(only) - {check.name for check in CHECKS}
    if unknown:
        names = ", ".join(check.name for check in CHECKS)
        raise UnknownCheck(f"no check is called {', '.join(sorted(unknown))}; there are {names}")
    chosen = [check for check in CHECKS if not only or check.name in only]
    return _run(chosen, Subject(connect, environment, timeout, steps), time.monotonic() + total)


def _run(checks: Sequence[Check], subject: Subject, end: float) -> Iterator[Result]:
    try:
        for check in checks:
            if time.monotonic() > end:
                yield Result(check.name, check.needs, "fail", check.rule, "not run: the time for all checks is used up")
                continue
            yield _run_one(check, subject)
    finally:
        subject.close()


def _run_one(check: Check, subject: Subject) -> Result:
    name, needs, rule = check.name, check.needs, check.rule
    if needs and not subject.has(needs):
        return Result(name, needs, "skip", rule, f"the server does not advertise {needs!r}")
    try:
        return Result(name, needs, "pass", rule, check.run(subject))
    except Skipped as reason:
        return Result(name, needs, "skip", rule, str(reason))
    except Failed as failure:
        return Result(name, needs, "fail", failure.expected, failure.seen)
    except BridgeError as error:  # a refusal, a silence or a broken connection where an answer was due
        return Result(name, needs, "fail", rule, f"{error.reason}: {error.args[0]}")
    except Exception as error:  # answers so strange that the check itself stumbled: still a line, and the next check
        return Result(name, needs, "fail", rule, f"an answer that made the check fail: {type(error).__name__}: {error}")
    finally:
        subject.release()
