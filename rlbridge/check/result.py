"""What a check says in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes:
        name: of the check.
        needs: the capability that the check depends on; empty where every server must pass.
        status: ``skip`` where there was nothing to check, for the reason in ``seen``.
        expected: the rule, or where it failed, the particular answer that should have come.
        seen: what did come.
    """

    name: str
    needs: str
    status: Status
    expected: str
    seen: str


class Failed(Exception):
    """The server did something else than the spec says."""

    def __init__(self, expected: str, seen: object) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = str(seen)


class Skipped(Exception):
    """The check cannot be made against this server or environment; the message says why."""


def expect(holds: bool, expected: str, seen: object) -> None:
    """Go on if ``holds``.

    Raises:
        Failed: with the two descriptions.
    """
    if not holds:
        raise Failed(expected, seen)
