"""Is an audit what a gate wrote? The chain of hashes is followed, and every decision is made again and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbridge.plants.audit import GENESIS, AuditBroken, records
from rlbridge.plants.gate import Numbers, Rules, State, decide
from rlbridge.plants.rules import restore


@dataclass(frozen=True)
class Verified:
    """An audit that is in order.

    Attributes:
        lines: in the file.
        decisions: made again, with the same outcome.
        written: of those, how many were written to the plant.
        head: the hash of the last line. Noted down elsewhere, it also shows that no lines were cut off the end.
    """

    lines: int
    decisions: int
    written: int
    head: str


def verify(path: Path, head: str | None = None) -> Verified:
    """Follow the chain and replay the decisions.

    Args:
        head: a hash that some line of the file must have: one that was noted down before.

    Raises:
        AuditBroken: at the first line that is wrong. OSError: as open does.
    """
    replay, last, lines, found = _Replay(path), GENESIS, 0, head is None
    for record in records(path):
        last, lines = record["hash"], lines + 1
        found |= last == head
        try:
            replay.take(record)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            if isinstance(error, AuditBroken):
                raise
            raise AuditBroken(f"{path}, line {lines}: it is not what a gate writes: {error!r}") from error
    if not found:
        raise AuditBroken(f"{path}: no line has the hash {head}; the end was cut off, or this is another file")
    return Verified(lines, replay.decisions, replay.written, last)


class _Replay:
    """The gate's state, as its records tell it."""

    def __init__(self, path: Path) -> None:
        self.path, self.decisions, self.written = path, 0, 0
        self.rules: Rules
        self.state: State
        self.n = 1

    def take(self, record: dict[str, Any]) -> None:
        event = record["event"]
        if event == "open":
            self.rules, self.n = restore(record, [*record["read"], *record["actions"]]), int(record["num_envs"])
        elif event == "start":
            self.state = State(self._rows(record["base"]), self._flags(record["engaged"]))
        elif event == "cleared":
            self.state = State(self.state.applied, self._flags(record["engaged"]))
        elif event == "act":
            self._decide(record)

    def _decide(self, record: dict[str, Any]) -> None:
        base = State(self._rows(record["base"]), self.state.engaged) if "base" in record else self.state
        order = np.array(record.get("order", [0] * self.n), np.int8)
        seen = {name: np.asarray(value, np.float64) for name, value in record["seen"].items()}
        beyond = {name: np.asarray(value, np.float64) for name, value in record.get("beyond", {}).items()}
        looks = [seen, {**seen, **beyond}] if beyond else [seen]
        after, _ = decide(self.rules, base, order, self._rows(record["requested"]), looks, float(record["dt"]))
        writes = "applied" in record
        noted = self._rows(record["applied" if writes else "would_apply"])
        if not np.array_equal(after.applied, noted):
            row, j = np.argwhere(after.applied != noted)[0]
            raise AuditBroken(
                f"{self.path}, line {record['n'] + 1}: {self.rules.names[j]} = {noted[row, j]!r} is noted as applied, "
                f"but these rules give {after.applied[row, j]!r}"
            )
        if writes and record["mode"] in ("observe", "shadow"):
            raise AuditBroken(f"{self.path}, line {record['n'] + 1}: it was written in mode {record['mode']}")
        self.decisions += 1
        self.written += writes
        in_force = writes and "write_failed" not in record
        self.state = after if in_force else State(base.applied, after.engaged)

    def _rows(self, named: dict[str, Any]) -> Numbers:
        columns = [np.broadcast_to(np.asarray(named[name], np.float64), (self.n,)) for name in self.rules.names]
        return np.column_stack(columns)

    def _flags(self, rows: list[list[bool]]) -> Any:
        return np.array(rows, np.bool_).reshape(self.n, len(self.rules.interlocks))
