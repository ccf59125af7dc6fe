"""What an operator of a plant sees, and does: no server is asked, only the plant's own two files are read."""

from __future__ import annotations

import time
from typing import Any

from rlbridge.plants.audit_tail import AuditTail
from rlbridge.plants.gate import Order
from rlbridge.plants.operator import OperatorFile, who
from rlbridge.studio.plant_files import PlantEntry, Range
from rlbridge.studio.plant_now import Advice, InterlockNow, PlantNow, SignalNow

_ENDED = ("close", "not started", "failed")
_ADVICE_SHOWN = 5
_LATE_SECONDS = 5.0


class PlantDesk:
    """One plant's operator's file and audit. Reading is not for several threads at a time."""

    def __init__(self, plant: PlantEntry) -> None:
        self.plant = plant
        self._operator, self._tail = OperatorFile(plant.operator), AuditTail(plant.audit)

    def estop(self) -> str:
        """Stop the plant; returns what is then in force. Needs no token, no server and no audit.

        Raises:
            OSError: it could not be written.
        """
        by = f"{who()}, in the studio"
        # An object of its own: nothing that hangs elsewhere is waited for. Whether the token can be read is no matter.
        OperatorFile(self.plant.operator).command("estop", by, None)
        return f"e-stop by {by}"

    def command(self, verb: str, token: str, **arguments: Any) -> None:
        """``clear``, ``mode`` or ``confirm``, signed with the operator's token.

        Raises:
            OperatorRefused: it is another token. OSError: a file cannot be read or written.
        """
        OperatorFile(self.plant.operator).command(verb, f"{who()}, in the studio", token, **arguments)

    def look(self) -> PlantNow:
        """How the plant stands now."""
        standing, records, opening = self._operator.standing(), self._tail.records(), self._tail.opening()
        last = records[-1] if records else {}
        mode = standing.mode or self.plant.mode
        open_now = _in_session(records)
        stopped, gate_mode = _gate(records)
        heeded = stopped is None or (stopped == bool(standing.estop) and gate_mode == mode)
        at = _number(last.get("at"))
        limit = max(_LATE_SECONDS, 3 * self.plant.period)
        return PlantNow(
            standing.estop,
            standing.unreadable,
            mode,
            gate_mode,
            standing.refused,
            str(last.get("by") or opening.get("by") or "local") if open_now else "",
            at,
            heeded or not open_now,
            open_now and self.plant.live and at is not None and time.time() - at > limit,
            self._signals(records, opening),
            _interlocks(opening, self.plant, standing.latched),
            _advice(records, standing.confirmed) if mode == "advise" and open_now and not standing.estop else [],
            records,
        )

    def _signals(self, records: list[dict[str, Any]], opening: dict[str, Any]) -> list[SignalNow]:
        act: dict[str, Any] = next((record for record in reversed(records) if record.get("event") == "act"), {})
        ranges: dict[str, Range] = {name: tuple(entry) for name, entry in _mapping(opening.get("ranges")).items()}
        ranges.update(
            (name, (low, high, ranges.get(name, (None, None, ""))[2]))
            for name, low, high in zip(*(opening.get(key) or [] for key in ("actions", "low", "high")), strict=False)
        )
        # What is out of its range is shown as the plant gave it; the last good value stands in for it in ``seen``.
        seen = {**_mapping(act.get("seen")), **_mapping(act.get("beyond"))}
        requested = _mapping(act.get("requested"))
        decided = _mapping(act.get("applied", act.get("would_apply")))
        why = _mapping(act.get("why"))
        shown = seen or dict.fromkeys({**self.plant.ranges, **ranges})
        return [
            SignalNow(
                name,
                _number(value),
                *ranges.get(name, self.plant.ranges.get(name, (None, None, ""))),
                _number(requested.get(name)),
                _number(decided.get(name)),
                "applied" in act,
                tuple(map(str, why.get(name) or ())),
            )
            for name, value in shown.items()
        ]


def _in_session(records: list[dict[str, Any]]) -> bool:
    """Whether a session has the plant, as far as the audit says. The last act of one follows its ``close``."""
    for k, record in enumerate(reversed(records)):
        event, order = record.get("event"), record.get("order") or [0]
        if event in ("start", "act") and not (k == 0 and max(order) >= Order.TRIP):
            return True
        if event in _ENDED or event == "open":  # one that was opened and did not start has nothing to end
            return False
    return False


def _gate(records: list[dict[str, Any]]) -> tuple[bool | None, str]:
    """Whether the gate last said that it is stopped (None: it did not say), and its mode."""
    for record in reversed(records):
        event, mode = record.get("event"), str(record.get("mode") or "")
        if event == "operator":
            return bool(record.get("estop")), mode
        if event == "act":
            return Order.ESTOP in (record.get("order") or ()), mode
        if event == "start":  # no session starts on a plant that is stopped
            return False, mode
    return None, ""


def _interlocks(opening: dict[str, Any], plant: PlantEntry, latched: frozenset[str]) -> list[InterlockNow]:
    """Those of the last session's gate; before there was one, those of the plant's file."""
    known: list[dict[str, Any]] = [lock for lock in opening.get("interlocks") or [] if isinstance(lock, dict)]
    if not opening:
        known = [dict(zip(("when", "until", "latch"), lock, strict=True)) for lock in plant.interlocks]
    found = [
        InterlockNow(str(lock.get("when")), lock.get("until"), bool(lock.get("latch")), lock.get("when") in latched)
        for lock in known
    ]
    # One that has latched is in force whether or not the audit still tells of it.
    return found + [InterlockNow(when, None, True, True) for when in sorted(latched - {lock.when for lock in found})]


def _advice(records: list[dict[str, Any]], confirmed: int | None) -> list[Advice]:
    """What was asked for since the last start and may still be confirmed, the latest first."""
    found: list[Advice] = []
    for record in reversed(records):
        if record.get("event") in ("start", "open") or len(found) == _ADVICE_SHOWN:
            break
        asked = record.get("event") == "act" and "would_apply" in record and not any(record.get("order") or ())
        if asked and record.get("mode") == "advise" and record.get("n") != confirmed:
            would = {name: _number(value) for name, value in _mapping(record["would_apply"]).items()}
            found.append(Advice(int(record.get("n", -1)), _number(record.get("at")) or 0.0, would))
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    """A number, or the first of a batch's."""
    if isinstance(value, list):
        value = value[0] if value else None
    return float(value) if isinstance(value, (int, float)) else None
