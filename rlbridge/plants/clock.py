"""Time: lockstep for simulated plants, absolute deadlines on the wall clock for all others."""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rlbridge.plants.gate import Flags, Numbers, Order, Reason
from rlbridge.plants.guard import Applied, Guard, Seen
from rlbridge.plants.plant import PlantRefused, SimulatedPlant
from rlbridge.plants.settings import Clock

log = logging.getLogger("rlbridge.plants")
_CLOSE_RAMP = 3.0
"""Closing ramps for at most so many seconds before it trips: a server that stops waits for 5."""


class PlantTimeout(TimeoutError):
    """The plant does not answer in its time: a driver hangs. Its own watchdog is what protects it now."""


@dataclass(frozen=True)
class Period:
    """One period: what was applied, what was seen before and after, and how it went.

    Attributes:
        over: [N] rows whose episode cannot go on: readings bad for too long, a trip, an e-stop.
        timing: on the wall clock: ``jitter`` and ``observation_age`` in seconds, ``deadline_misses`` since the start.
    """

    before: Seen
    applied: Applied
    after: Seen
    over: Flags
    timing: dict[str, float] = field(default_factory=dict)


class Runner(Protocol):
    """Lets a guarded plant run, period by period."""

    guard: Guard

    def start(self, seeds: Sequence[int | None], options: Mapping[str, Any], rows: Flags) -> Seen: ...

    def step(self, requested: Numbers) -> Period: ...

    def rest(self) -> None:
        """The episode is over for good: go to the safe action, without waiting for a next one."""

    def close(self) -> None: ...


class Lockstep:
    """Time passes in ``step``, ``period`` seconds each, and never otherwise."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        assert isinstance(guard.plant, SimulatedPlant)
        self.guard, self._plant, self._period = guard, guard.plant, clock.period
        self._act = np.full(guard.n, Order.ACT, np.int8)
        self._now = 0.0

    def start(self, seeds: Sequence[int | None], options: Mapping[str, Any], rows: Flags) -> Seen:
        return self.guard.start(seeds, options, rows, self._now)

    def step(self, requested: Numbers) -> Period:
        guard = self.guard
        before = guard.seen
        applied = guard.act(self._act, requested, self._period)
        self._plant.advance(self._period)
        self._now += self._period
        after = guard.read(self._now)
        over = after.failed
        if over.any():
            guard.act(np.where(over, Order.TRIP, Order.HOLD).astype(np.int8), guard.state.applied, self._period)
        if guard.estopped:
            over = np.ones(guard.n, np.bool_)
        return Period(before, applied, after, over)

    def rest(self) -> None:
        """Nothing moves until the next reset."""

    def close(self) -> None:
        try:
            self.guard.stop("close")
        finally:
            self.guard.close()


@dataclass
class _Command:
    """What the plant's thread is asked; it answers in ``answer``."""

    verb: str
    arguments: tuple[Any, ...] = ()
    answer: Future[Any] = field(default_factory=Future)


class WallClock:
    """One thread that owns the plant, reads it every ``period`` seconds, and acts when nobody else does.

    Deadlines are absolute: a late period does not move those after it. An action is applied when it arrives; ``step``
    returns with the reading at the next deadline. Where no action comes, the dead-man's stages follow each other: hold,
    ramp, trip. A trip lasts until the next start.
    """

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self.guard, self._clock, self._man = guard, clock, guard.gate.dead_man
        self._inbox: queue.Queue[_Command] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._running = self._tripped = self._resting = False
        self._error: BaseException | None = None
        self._asked: _Command | None = None  # the step that waits for its period's end
        self._outcome: tuple[Seen, Applied]
        self._deadline = self._fresh_at = self._wrote_at = self._shown_at = 0.0
        self._ramping_since: float | None = None
        self._acted = False
        self._misses = 0

    # ------------------------------------------------------------------------------------------ the caller's side

    def start(self, seeds: Sequence[int | None], options: Mapping[str, Any], rows: Flags) -> Seen:
        """Start the plant; it then runs, in its own thread, until ``close``.

        Raises:
            PlantRefused, PlantTimeout, and whatever the plant raises.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rlbridge-plant", daemon=True)
            self._thread.start()
            atexit.register(self._close_at_exit)
        seen: Seen = self._ask("start", (seeds, options, rows), self._clock.start_within)
        return seen

    def step(self, requested: Numbers) -> Period:
        """Apply an action, and wait for the end of the period.

        Raises:
            PlantTimeout, and whatever the plant raises.
        """
        period: Period = self._ask("act", (requested,), 2 * self._clock.period + self._clock.patience)
        return period

    def rest(self) -> None:
        """Ramp to the safe action from now on."""
        self._resting = True

    def close(self) -> None:
        """Ramp to the safe action, for 3 s at most, then go there at once, and let go of the plant."""
        atexit.unregister(self._close_at_exit)
        thread, self._thread = self._thread, None
        if thread is None:
            self.guard.close()
            return
        try:
            self._ask("close", (), _CLOSE_RAMP + self._clock.patience)
        except PlantTimeout:
            log.error("the plant hangs and could not be made safe; its own watchdog has to")  # nobody else is left
            raise

    def _close_at_exit(self) -> None:
        """A program that ends without closing its environment leaves the plant safe, too."""
        with contextlib.suppress(Exception):  # it has been logged, and nobody is left to tell
            self.close()

    def _ask(self, verb: str, arguments: tuple[Any, ...], within: float) -> Any:
        command = _Command(verb, arguments)
        self._inbox.put(command)
        try:
            return command.answer.result(within)
        except FutureTimeout:
            command.answer.cancel()
            raise PlantTimeout(
                f"the plant did not answer {verb!r} within {within:g} s: its driver or device hangs. Look at the "
                "device; clock.patience and clock.start_within are the limits."
            ) from None

    # ------------------------------------------------------------------------------------------ the plant's thread

    def _run(self) -> None:
        while True:
            wait = max(0.0, self._deadline - time.monotonic()) if self._running else None
            try:
                command = self._inbox.get(timeout=wait)
            except queue.Empty:
                self._guarded(self._end_period)
                continue
            if not command.answer.set_running_or_notify_cancel() and command.verb != "close":
                continue  # whoever asked has given up; nobody would expect it to happen now
            if command.verb == "close":
                self._answer(command, self._close)
                return
            if command.verb == "start":
                self._answer(command, lambda command=command: self._start(*command.arguments))
            elif self._error is not None or not self._running:
                command.answer.set_exception(self._error or RuntimeError("the plant is not started: call reset()"))
            else:
                self._guarded(lambda command=command: self._act(command))

    def _answer(self, command: _Command, do: Any) -> None:
        try:
            result = do()
        except BaseException as error:
            if not command.answer.cancelled():
                command.answer.set_exception(error)
            return
        if not command.answer.cancelled():
            command.answer.set_result(result)

    def _guarded(self, do: Any) -> None:
        """Do it; an exception makes the plant safe as far as possible and is what the client is told next."""
        try:
            do()
        except BaseException as error:
            log.exception("the plant failed; going to the safe action")
            self._error, self._running = error, False
            try:
                self.guard.stop("failed")
            except Exception:
                log.exception("the plant could not be made safe; its own watchdog has to")
            if self._asked is not None:
                self._asked.answer.set_exception(error)
                self._asked = None

    def _start(self, seeds: Sequence[int | None], options: Mapping[str, Any], rows: Flags) -> Seen:
        self._running, self._error = False, None
        try:
            seen = self.guard.start(seeds, options, rows, time.monotonic())
            if self.guard.state.engaged.any() or self.guard.alarmed():
                # Not at the period's end: resets that follow each other faster never come to one.
                self.guard.act(np.full(self.guard.n, Order.HOLD, np.int8), self.guard.state.applied, 1e-6)
        except BaseException:
            self.guard.stop("not started")  # it may still run from the episode before
            raise
        self._running, self._tripped, self._resting, self._misses = True, False, False, 0
        self._ramping_since = None
        self._shown_at = self._fresh_at = self._wrote_at = time.monotonic()
        self._deadline = self._shown_at + self._clock.period
        self._acted = True  # the first period is the client's to think in
        return seen

    def _act(self, command: _Command) -> None:
        self._asked = command
        now = time.monotonic()
        requested: Numbers = command.arguments[0]
        age, limit = now - self._shown_at, self.guard.gate.max_age
        if limit is not None and age > limit:
            self.guard.refused(f"the observation that it answers is {age:.3f} s old, max_age is {limit:g} s")
            applied = self._apply(self._order(now), requested, now, Reason.REFUSED)
        else:
            self._fresh_at, self._resting, self._ramping_since = now, False, None
            applied = self._apply(Order.TRIP if self._tripped else Order.ACT, requested, now)
            self._acted = True
        self._outcome = (self.guard.seen, applied)

    def _apply(self, order: Order, requested: Numbers, now: float, why: int = 0) -> Applied:
        dt = min(max(now - self._wrote_at, 1e-6), self._clock.period)
        self._wrote_at = now
        return self.guard.act(np.full(self.guard.n, order, np.int8), requested, dt, why)

    def _order(self, now: float) -> Order:
        """What the dead-man says where nobody acts."""
        missed = self._clock.on_miss == "safe" and not self._acted
        if not (self._tripped or self._resting or missed or now - self._fresh_at > self._man.hold):
            return Order.HOLD
        if self._ramping_since is None:
            self._ramping_since = now
        self._tripped |= now - self._ramping_since > self._man.ramp
        return Order.TRIP if self._tripped else Order.RAMP

    def _end_period(self) -> None:
        """At a deadline: read, act where nobody did, toggle the heartbeat, answer who waits."""
        now = time.monotonic()
        late = now - self._deadline
        seen = self.guard.read(now)
        failed = bool(seen.failed.any())
        self._tripped |= failed
        if not self._acted:
            self._misses += 1
        if failed or not self._acted or self.guard.alarmed():
            self._apply(self._order(now), self.guard.state.applied, now)
        self._acted = False
        self.guard.beat()
        # The next deadline on the same grid; those that have passed already are misses, too.
        passed = int(late // self._clock.period)
        self._misses += passed
        self._deadline += (passed + 1) * self._clock.period
        if self._asked is not None:
            command, self._asked, (before, applied) = self._asked, None, self._outcome
            self._shown_at = now
            over = np.full(self.guard.n, self._tripped or self.guard.estopped, np.bool_)
            timing = {
                "jitter": late,
                "deadline_misses": float(self._misses),
                "observation_age": max(0.0, time.time() - seen.time),
            }
            command.answer.set_result(Period(before, applied, seen, over, timing))

    def _close(self) -> None:
        """Ramp for a while, then trip; whatever fails on the way, the plant is let go of."""
        self._running = False
        guard = self.guard
        try:
            if guard.started and self._error is None:
                end = time.monotonic() + min(_CLOSE_RAMP, self._man.ramp)
                while not self._safe() and guard.mode == "active" and (left := end - time.monotonic()) > 0:
                    guard.read(time.monotonic())
                    self._apply(Order.RAMP, guard.state.applied, time.monotonic())
                    guard.beat()
                    time.sleep(min(self._clock.period, left))
            guard.stop("close")
        finally:
            guard.close()

    def _safe(self) -> bool:
        return bool((self.guard.state.applied == self.guard.rules.safe).all())


def runner(guard: Guard, clock: Clock) -> Runner:
    """The right clock for a plant."""
    return WallClock(guard, clock) if guard.live else Lockstep(guard, clock)


__all__ = ["Lockstep", "Period", "PlantRefused", "PlantTimeout", "Runner", "WallClock", "runner"]
