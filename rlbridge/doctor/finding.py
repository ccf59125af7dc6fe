"""What an examination found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one examination.

    Attributes:
        name: what was examined, one or two words: ``connection``, ``encryption``, ``steps``.
        status: ``problem``: the target cannot be used as it is; ``warning``: it can, and something deserves a look.
        found: one line, with values. Of a problem, the words before the first colon name the cause.
        advice: what to do, one sentence; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


class Problem(Exception):
    """Ends the examinations: those that would follow mean nothing while this lasts. Its finding is the last one."""

    def __init__(self, name: str, found: str, advice: str) -> None:
        super().__init__(found)
        self.finding = Finding(name, "problem", " ".join(found.split()), advice)
