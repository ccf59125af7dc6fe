"""How a plant stands, as its operator's file and its audit tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SignalNow:
    """One signal in the last decision; what is not known is None.

    Attributes:
        value: what was seen.
        low, high, unit: the limits.
        requested, decided: of an action: what was asked for, and what came of it.
        written: whether ``decided`` went to the plant.
        why: the gate's reasons.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    requested: float | None = None
    decided: float | None = None
    written: bool = False
    why: tuple[str, ...] = ()

    @property
    def outside(self) -> bool:
        """Whether the value is not within its limits."""
        if self.value is None:
            return False
        return (self.low is not None and self.value < self.low) or (self.high is not None and self.value > self.high)


@dataclass(frozen=True)
class InterlockNow:
    """One interlock; ``latched`` ones stay until an operator clears them."""

    when: str
    until: str | None
    latch: bool
    latched: bool


@dataclass(frozen=True)
class Advice:
    """What the gate would write if an operator confirmed it: the audit's record ``number``, at ``at`` [s, epoch]."""

    number: int
    at: float
    would: dict[str, float | None]


@dataclass(frozen=True)
class PlantNow:
    """How a plant stands.

    Attributes:
        estop: why it is stopped, or "".
        unreadable: the studio's account cannot read the operator's file or the token: ``estop`` says why, and what is
            in force is not known here.
        mode: that the operator's file and the plant's file ask for.
        gate_mode: that the gate had when it last wrote to the audit, or "".
        refused: lines of the operator's file that no operator signed.
        session: who acts, while a session is open; else "".
        at: when the audit's last line was written [s, epoch], or None.
        heeded: the open session's gate has taken note of the e-stop, or of its end, and of the mode.
        late: a session is open on the wall clock, and nothing has been written for far longer than a period.
        signals, interlocks, advice, records: as of the audit's end; of records the latest is last.
    """

    estop: str
    unreadable: bool
    mode: str
    gate_mode: str
    refused: int
    session: str
    at: float | None
    heeded: bool
    late: bool
    signals: list[SignalNow]
    interlocks: list[InterlockNow]
    advice: list[Advice]
    records: list[dict[str, Any]]
