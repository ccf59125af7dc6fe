"""What a guard writes into its audit: who, what was seen and asked, what was decided and why, by the signals' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.plants.audit import AuditLog, first_free
from rlbridge.plants.gate import Looks, Numbers, Reason, Rules, State
from rlbridge.plants.plant import Signal
from rlbridge.plants.rules import describe


class Journal:
    """The records of one guard; without a path, none are kept. docs/plants.md says what they are.

    Args:
        path: of the audit file, or None.
        exclusive: only this very file will do: the plant is one that exists once.
        rules: the gate's.
        signals: the plant's; what is read of them, and within which limits, is noted for who looks on.
        n: plants.

    Attributes:
        by: who acts.
    """

    def __init__(self, path: Path | None, exclusive: bool, rules: Rules, signals: Sequence[Signal], n: int) -> None:
        self._path, self._exclusive, self._rules, self._signals, self._n = path, exclusive, rules, signals, n
        self._log: AuditLog | None = None
        self.by = "local"

    def open(self) -> None:
        """Take hold of the file, if that has not been done.

        Raises:
            PlantHeld, AuditBroken, OSError: it cannot be had.
        """
        if self._log is None and self._path is not None:
            self._log = AuditLog(self._path) if self._exclusive else first_free(self._path)
            read = [signal.name for signal in self._signals if signal.role in ("observation", "monitor")]
            ranges = {signal.name: [float(signal.low), float(signal.high), signal.unit] for signal in self._signals}
            self.note("open", by=self.by, num_envs=self._n, read=read, ranges=ranges, **describe(self._rules))

    def close(self) -> None:
        """Let go of the file."""
        held, self._log = self._log, None
        if held is not None:
            held.close()

    def note(self, event: str, **fields: Any) -> int:
        """One record; returns its number, or -1 where none are kept."""
        return -1 if self._log is None else self._log.append({"event": event, **fields})

    def start(self, mode: str, state: State) -> None:
        """An episode begins, in some row, from this state."""
        if self._log is not None:
            self.note("start", mode=mode, base=self._named(state.applied), engaged=state.engaged.tolist())

    def act(
        self,
        mode: str,
        dt: float,
        order: NDArray[np.int8],
        looks: Looks,
        base: Numbers | None,
        requested: Numbers,
        decided: Numbers,
        reasons: NDArray[np.int64],
        written: bool,
        failure: Exception | None,
    ) -> int:
        """A decision, with all that :func:`~rlbridge.plants.gate.decide` went by.

        Args:
            base: [N, A] what the rate counted from, where that is not the last applied action; else None.
            written: whether the decision was written to the plant; ``failure``: what came of that.
        """
        if self._log is None:
            return -1
        fields: dict[str, Any] = {"by": self.by, "mode": mode, "dt": dt}
        if order.any():
            fields["order"] = order.tolist()
        seen, *beyond = looks
        fields["seen"] = {name: self._plain(value) for name, value in seen.items()}
        for look in beyond:
            changed = [name for name in look if not np.array_equal(look[name], seen[name], equal_nan=True)]
            fields["beyond"] = {name: self._plain(look[name]) for name in changed}
        if base is not None:
            fields["base"] = self._named(base)
        fields["requested"] = self._named(requested)
        fields["applied" if written else "would_apply"] = self._named(decided)
        if reasons.any():
            fields["why"] = why_of(reasons[0], self._rules.names) if self._n == 1 else reasons.tolist()
        if failure is not None:
            fields["write_failed"] = f"{type(failure).__name__}: {failure}"[:500]
        return self.note("act", **fields)

    def _named(self, rows: Numbers) -> dict[str, Any]:
        return {name: self._plain(rows[:, j]) for j, name in enumerate(self._rules.names)}

    def _plain(self, column: Numbers) -> Any:
        """As JSON, which has no NaN: what was never read is null."""
        plain = [None if np.isnan(value) else value for value in column.tolist()]
        return plain[0] if self._n == 1 else plain


def why_of(reasons: NDArray[np.int64], names: Sequence[str]) -> dict[str, list[str]]:
    """The reasons of one row in words, by action."""
    return {
        name: [str(reason.name).lower() for reason in Reason if reason & int(bits)]
        for name, bits in zip(names, reasons, strict=True)
        if bits
    }
