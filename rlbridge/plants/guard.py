"""A plant behind its gate: the only object that writes to a plant."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.plants.gate import Flags, Looks, Numbers, Order, Reason, State, decide
from rlbridge.plants.journal import Journal
from rlbridge.plants.operator import OperatorFile, Standing
from rlbridge.plants.plant import BatchPlant, Plant, PlantLost, PlantRefused, Reading, Signal, SimulatedPlant
from rlbridge.plants.quality import Quality
from rlbridge.plants.rules import rules_of
from rlbridge.plants.settings import Gate

log = logging.getLogger("rlbridge.plants")
_ADVICE_KEPT = 100


@dataclass(frozen=True)
class Seen:
    """What was read, after the check of its quality.

    Attributes:
        values: by name, [N] each: what is read, and the actions' set points.
        looks: what the interlocks go by.
        observed: [N, S] the observations, never NaN once the plant has started.
        bad: [N, R] of everything that is read, what is held and not fresh.
        failed: [N] rows with something bad for longer than it may be held.
        time: of the reading, on the plant's clock.
    """

    values: dict[str, Numbers]
    looks: Looks
    observed: Numbers
    bad: Flags
    failed: Flags
    time: float


@dataclass(frozen=True)
class Applied:
    """What became of a request.

    Attributes:
        requested: [N, A].
        applied: [N, A] what is in force in the plant; where nothing was written, what stands there as far as known.
        decided: [N, A] what would have been written.
        reasons: [N, A] of :class:`~rlbridge.plants.gate.Reason`.
    """

    requested: Numbers
    applied: Numbers
    decided: Numbers
    reasons: NDArray[np.int64]


class Guard:
    """Reads a plant, decides, writes to it and keeps the audit. Not for several threads at a time.

    Args:
        plant: one plant, or a batch.
        gate: the settings.
        folder: where the audit's and the operator's file are.
        signals: the plant's, perhaps with narrower limits.
    """

    def __init__(self, plant: Plant, gate: Gate, folder: Path, signals: Sequence[Signal] | None = None) -> None:
        self.plant, self.gate, self.folder = plant, gate, folder
        self.signals = tuple(plant.signals if signals is None else signals)
        self.rules = rules_of(self.signals, gate, plant.safe_action())
        self.batch = isinstance(plant, BatchPlant)
        self.n: int = plant.num_envs if isinstance(plant, BatchPlant) else 1
        self.live = not isinstance(plant, SimulatedPlant)
        read = [signal for signal in self.signals if signal.role in ("observation", "monitor")]
        self.quality = Quality(read, self.n, gate.frozen_after if self.live else None)
        self._observed = [j for j, signal in enumerate(read) if signal.role == "observation"]
        self._read_names = [signal.name for signal in read]
        self._heartbeats = [signal.name for signal in self.signals if signal.role == "heartbeat"]
        self.state = State(np.tile(self.rules.safe, (self.n, 1)), self._disengaged())
        self.standing = Standing()
        self.operator = OperatorFile(folder / gate.operator) if gate.operator else None
        path = gate.audit or ("audit.jsonl" if self.live or gate.operator else None)
        self.journal = Journal(None if path is None else folder / path, self.live, self.rules, self.signals, self.n)
        self.started = False
        self._beat = 0
        self._advice: OrderedDict[int, Numbers] = OrderedDict()
        self._confirmed: Numbers | None = None
        self.seen: Seen

    # ---------------------------------------------------------------------------------------------------- start

    def start(self, seeds: Sequence[int | None], options: Mapping[str, Any], rows: Flags, now: float) -> Seen:
        """Begin an episode in ``rows`` and take over from the set points that the plant has.

        Raises:
            PlantRefused, PlantHeld, AuditBroken: it does not begin; nothing was written.
        """
        self.journal.open()
        self._obey()
        if self.standing.estop:
            desk = self.operator.path if self.operator else self.folder
            raise PlantRefused(
                f"the plant is stopped: {self.standing.estop}. An operator clears it: rlbridge plant clear {desk}"
            )
        if self.operator is not None and any(lock.latch for lock in self.rules.interlocks):
            self.operator.check_writable()
        if isinstance(self.plant, BatchPlant):
            self.plant.start_rows(rows, seeds, options)
        else:
            self.plant.start(seeds[0], options)
        if not self.started:
            rows = np.ones(self.n, np.bool_)
        self.quality.forget(rows)
        self._advice.clear()
        self._confirmed = None
        unknown = self._take_over(rows, now)
        failed = self.seen.failed & rows
        if failed.any():
            bad = self.names_of_bad(self.seen, int(np.argmax(failed)))
            raise PlantRefused(f"the plant cannot start: {', '.join(bad)} cannot be read, or only outside its range")
        self.state = State(self.state.applied, np.where(rows[:, None], self._engaged(), self.state.engaged))
        self.started = True
        self.journal.start(self.mode, self.state)
        if unknown and self.mode == "active":
            # Nobody knows where the set points are, so they are put where the rate limit counts from.
            self.act(np.where(rows, Order.TRIP, Order.HOLD).astype(np.int8), self.state.applied, 1.0)
        return self.seen

    def _take_over(self, rows: Flags, now: float) -> bool:
        """Read, and begin from the set points that stand in the plant; returns whether it cannot tell them."""
        self.read(now)
        known = ~np.isnan(self._told)
        start = np.where(known, self._told, self.rules.safe)
        outside = known & ((start < self.rules.low) | (start > self.rules.high)) & rows[:, None]
        if outside.any() and self.mode == "active":
            row, j = np.argwhere(outside)[0]
            signal = next(signal for signal in self.signals if signal.name == self.rules.names[j])
            raise PlantRefused(
                f"{signal.name} stands at {start[row, j]:g} {signal.unit}, outside its limits [{signal.low:g}, "
                f"{signal.high:g}]: bring it inside by hand before the gate takes over"
            )
        start = np.minimum(np.maximum(start, self.rules.low), self.rules.high)
        self.state = State(np.where(rows[:, None], start, self.state.applied), self.state.engaged)
        return not bool(known[rows].all())

    # ---------------------------------------------------------------------------------------------------- cycle

    @property
    def mode(self) -> str:
        """In force now: the operator's, else the one of the settings."""
        return self.standing.mode or self.gate.mode

    @property
    def estopped(self) -> bool:
        """Whether an operator has stopped the plant."""
        return bool(self.standing.estop)

    def read(self, now: float) -> Seen:
        """Read the plant; ``now`` in seconds is what holding counts in."""
        try:
            reading = self.plant.read()
        except PlantLost as error:  # ridden out as long as each signal may be held
            log.warning("the plant cannot be read: %s", error)
            reading = Reading({}, self.seen.time if self.started else now)
        failed = self.quality.take(reading, now)
        values: dict[str, Numbers] = dict(zip(self._read_names, self.quality.values.T, strict=True))
        told = np.empty_like(self.state.applied)
        for j, name in enumerate(self.rules.names):
            value = reading.values.get(name)
            told[:, j] = np.nan if value is None or name in reading.bad else value
        known = np.isfinite(told)
        points = told
        if not known.all():
            told, points = np.where(known, told, np.nan), np.where(known, told, self.state.applied)
        self._told = told
        values.update((name, points[:, j]) for j, name in enumerate(self.rules.names))
        looks = [values]
        if self.quality.beyond is not None:
            looks.append({**values, **dict(zip(self._read_names, self.quality.beyond.T, strict=True))})
        observed = self.quality.values[:, self._observed]
        self.seen = Seen(values, looks, observed, self.quality.bad, failed, float(reading.time))
        return self.seen

    def act(self, order: NDArray[np.int8], requested: Numbers, dt: float, why: int = 0) -> Applied:
        """Decide and, if the mode allows it, write.

        Args:
            order: [N] of :class:`~rlbridge.plants.gate.Order`.
            requested: [N, A], finite where the order is to act.
            dt: seconds since the last time.
            why: added to the reasons.
        """
        self._obey()
        if self.estopped:
            order = np.full(self.n, Order.ESTOP, np.int8)
        base, moved = self._base()
        writes, asked = self.mode == "active", requested
        if self.mode == "advise":
            confirmed = self._take_confirmed()
            if confirmed is not None:
                writes, requested = True, confirmed
                order = np.where(order < Order.TRIP, Order.ACT, order).astype(np.int8)
        state, reasons = decide(self.rules, base, order, requested, self.seen.looks, dt)
        if why:
            reasons |= why
        if moved is not None:
            reasons |= np.where(moved, np.int64(Reason.READBACK), 0)
        if not writes:
            reasons |= Reason.UNWRITTEN
        result = Applied(asked, state.applied if writes else base.applied, state.applied, reasons)
        failure = self._written(state.applied) if writes else None
        moved_base = None if base is self.state else base.applied
        self.state = state if writes and failure is None else State(base.applied, state.engaged)
        number = self.journal.act(
            *(self.mode, dt, order, self.seen.looks, moved_base, requested, state.applied, reasons, writes, failure)
        )
        if self.mode == "advise" and not writes and not order.any():
            self._advise(number, requested)
        self._keep_latches(base.engaged, state.engaged)
        if failure is not None:
            raise failure
        return result

    def names_of_bad(self, seen: Seen, row: int) -> list[str]:
        """The signals whose last good value is shown in this row."""
        return [name for name, bad in zip(self._read_names, seen.bad[row], strict=True) if bad]

    def beat(self) -> None:
        """Toggle the heartbeat, if there is one and the mode allows writing."""
        if self._heartbeats and self.mode == "active":
            self._beat ^= 1
            self.plant.write({name: float(self._beat) for name in self._heartbeats})

    def alarmed(self) -> bool:
        """Whether something must be done at once: an e-stop, or an interlock that is about to engage."""
        self._obey()
        if self.estopped and self.mode == "active":
            return True
        return any(
            bool(np.any(np.logical_and(lock.begins(self.seen.looks), ~self.state.engaged[:, i])))
            for i, lock in enumerate(self.rules.interlocks)
        )

    def refused(self, text: str) -> None:
        """Note an action that was not even looked at."""
        self.journal.note("refused", by=self.journal.by, why=text[:500])

    def stop(self, event: str) -> None:
        """Go to the safe action at once, if the mode allows writing, and note ``event``."""
        if not self.started:
            return
        try:
            self.journal.note(event, by=self.journal.by)
            self.act(np.full(self.n, Order.TRIP, np.int8), self.state.applied, 1.0)
        except Exception:
            # A disk that is full must not keep the plant from being safe: it is logged, not audited.
            if self.mode == "active":
                self._written(np.tile(self.rules.safe, (self.n, 1)))
            raise

    def close(self) -> None:
        """Let go of the plant and of the audit; writes nothing."""
        self.started = False
        try:
            self.plant.close()
        finally:
            self.journal.close()

    # --------------------------------------------------------------------------------------------------- inside

    def _base(self) -> tuple[State, Flags | None]:
        """The state to decide from: with the plant's own set points where these are others than were written."""
        told, applied = self._told, self.state.applied
        differs = np.abs(told - applied) > self.gate.readback_tolerance * (self.rules.high - self.rules.low)
        if self.mode != "active":
            differs = ~np.isnan(told)
        if not differs.any():
            return self.state, None
        inside = np.minimum(np.maximum(told, self.rules.low), self.rules.high)
        base = State(np.where(differs, inside, applied), self.state.engaged)
        return base, differs if self.mode == "active" else None

    def _written(self, applied: Numbers) -> Exception | None:
        """Write; an exception is returned, so that it is noted down before it ends everything."""
        columns = applied.T
        commands = {name: columns[j] if self.batch else float(columns[j, 0]) for j, name in enumerate(self.rules.names)}
        try:
            self.plant.write(commands)
        except Exception as error:
            return error
        # Until the next reading this is what stands there.
        self._told = np.where(np.isnan(self._told), self._told, applied)
        return None

    def _obey(self) -> None:
        """Look at the operator's file."""
        if self.operator is None:
            return
        standing = self.operator.standing()
        if standing is self.standing or standing == self.standing:
            return
        before, self.standing = self.standing, standing
        if before.confirmations != standing.confirmations and standing.confirmed is not None:
            # Now or never: numbers begin anew in another audit file, and what comes later nobody has looked at.
            self._confirmed = self._advice.pop(standing.confirmed, None)
        self.journal.note(
            "operator",
            estop=standing.estop,
            mode=self.mode,
            latched=sorted(standing.latched),
            confirmed=standing.confirmed,
            refused=standing.refused,
        )
        if before.latched - standing.latched:
            freed = np.array([lock.latch and lock.when.text not in standing.latched for lock in self.rules.interlocks])
            self.state = State(self.state.applied, self.state.engaged & ~freed)
            self.journal.note("cleared", engaged=self.state.engaged.tolist())

    def _engaged(self) -> Flags:
        """[N, I] with what an episode begins: what is latched and, in a plant that was there before, whatever has not
        reached its end: else a reset, or another session, would be the way out of an interlock."""
        engaged = self._disengaged()
        for i, lock in enumerate(self.rules.interlocks):
            engaged[:, i] = lock.when.text in self.standing.latched
            if self.live and lock.until is not None:
                engaged[:, i] |= np.logical_not(lock.ends(self.seen.looks))
        return engaged

    def _disengaged(self) -> Flags:
        return np.zeros((self.n, len(self.rules.interlocks)), np.bool_)

    def _keep_latches(self, before: Flags, after: Flags) -> None:
        if self.operator is None or before is after:
            return
        for i in np.flatnonzero((after & ~before).any(axis=0)):
            if self.rules.interlocks[i].latch:
                self.operator.latch(self.rules.interlocks[i].when.text)

    def _advise(self, number: int, requested: Numbers) -> None:
        self._advice[number] = requested
        if len(self._advice) > _ADVICE_KEPT:
            self._advice.popitem(last=False)

    def _take_confirmed(self) -> Numbers | None:
        """The advice that an operator has confirmed since the last time, once."""
        confirmed, self._confirmed = self._confirmed, None
        return confirmed
