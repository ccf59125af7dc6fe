"""A serial production line in SimPy: machines, finite buffers, breakdowns, repairers, cards and orders.

    cards -> [buffer|machine] -> [buffer|machine] -> ... -> finished stock -> orders

Conventions, which decide whether a simulation meets the published answers:

* *Blocking after service*: a machine that has finished a job keeps it, and stands still, until the next buffer
  has room. A buffer of ``B`` places does **not** count the place on the machine behind it.
* *Operation-dependent failures*: a machine ages only while it works (Buzacott and Hanifin 1978), never while it is
  starved or blocked. A job interrupted by a failure goes on where it stopped.
* *CONWIP* (Spearman, Woodruff and Hopp 1990): a job is released whenever fewer than ``cap`` cards are in use. A card
  stays with its job through the line and in the finished stock until a customer takes the job.
* Without orders, a finished job leaves at once, so the cap limits the work in the line alone.

Times are hours. Nothing here knows about reinforcement learning.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import simpy

Process = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Station:
    """One machine and the buffer in front of it, as the planner describes them."""

    service_mean: float
    """Mean service time [h]."""
    service_cv: float = 1.0
    """Coefficient of variation of the service time: 0 deterministic, 1 exponential, anything else gamma."""
    buffer: float = math.inf
    """Places in front of the machine [jobs], the one on the machine not counted."""
    failure_mean: float = math.inf
    """Mean *working* time between two failures [h], exponential; infinite means it never fails."""
    repair_mean: float = 0.0
    """Mean time a repairer needs [h], exponential; waiting for the repairer comes on top."""


class State(IntEnum):
    """What a machine is doing."""

    STARVED = 0
    WORKING = 1
    BLOCKED = 2
    BROKEN = 3
    """Down, waiting for a repairer."""
    IN_REPAIR = 4


@dataclass(frozen=True)
class Orders:
    """Customers: a Poisson process whose rate may change with the time."""

    rate: Callable[[float], float]
    """Orders per hour at time t [h]."""
    peak: float
    """An upper bound of ``rate`` [1/h]."""


class Level:
    """A number that changes at instants, with its integral over time: the source of every time average."""

    __slots__ = ("_area", "_env", "_since", "value")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._area = 0.0
        self._since = env.now
        self.value = 0

    def add(self, change: int) -> None:
        """Change the level now."""
        now = self._env.now
        self._area += self.value * (now - self._since)
        self._since = now
        self.value += change

    def integral(self) -> float:
        """Area under the level from the start until now [jobs x h]."""
        return self._area + self.value * (self._env.now - self._since)


class Signal:
    """Wakes those who wait for something to change; they look again themselves."""

    __slots__ = ("_env", "_event")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._event: simpy.Event | None = None

    def wait(self) -> simpy.Event:
        """An event to yield: it happens at the next ``fire``."""
        if self._event is None:
            self._event = self._env.event()
        return self._event

    def fire(self) -> None:
        """Wake whoever waits; if nobody does, nothing is remembered (and no event is spent)."""
        if self._event is not None:
            event, self._event = self._event, None
            event.succeed()


class Machine:
    """A station while it runs: the jobs at it, what it is doing, and its own random numbers."""

    def __init__(self, env: simpy.Environment, station: Station, seed: np.random.SeedSequence) -> None:
        self.station = station
        self.state = State.STARVED
        self.jobs: deque[float] = deque()
        """Release times [h] of the jobs in the buffer and on the machine, oldest first."""
        self.job_came = Signal(env)
        self.place_freed = Signal(env)
        self.repaired = Signal(env)
        # One stream a purpose: two policies then meet the same services and failures (common random numbers).
        self._service, self._failure, self._repair = (np.random.default_rng(child) for child in seed.spawn(3))
        cv = station.service_cv
        self._shape = 1.0 / cv**2 if cv else 0.0
        self.until_failure = self.draw_until_failure()
        """Working time left before the next failure [h]."""
        self.repair_left = 0.0
        """Repairer's work left on the present failure [h]."""

    @property
    def has_place(self) -> bool:
        """Whether a job can come in: the machine's own place counts."""
        return len(self.jobs) <= self.station.buffer

    def draw_service(self) -> float:
        """The next service time [h]."""
        if not self._shape:
            return self.station.service_mean
        return self._service.standard_gamma(self._shape) * self.station.service_mean / self._shape

    def draw_until_failure(self) -> float:
        """Working time until the next failure [h]."""
        return self._failure.standard_exponential() * self.station.failure_mean

    def draw_repair(self) -> float:
        """The next repair time [h]."""
        return self._repair.standard_exponential() * self.station.repair_mean


class ProductionLine:
    """Stations in series under one release rule. ``run`` moves the time; everything else is read off.

    Args:
        stations: in the order of the flow.
        seed: of this line's own random numbers; nothing global is drawn from.
        cap: cards, the most jobs in the line and in the finished stock; infinite means that the first station never
            runs out of work (its buffer must then be finite).
        repairers: how many machines can be repaired at once; None means one for each machine.
        arrival_rate: if given, jobs arrive by a Poisson process of this rate [1/h] instead of by cards (M/M/1).
        orders: customers who take finished jobs; None means that finished jobs leave at once.
    """

    def __init__(
        self,
        stations: list[Station],
        seed: int,
        *,
        cap: float = math.inf,
        repairers: int | None = None,
        arrival_rate: float | None = None,
        orders: Orders | None = None,
    ) -> None:
        if cap == math.inf and stations[0].buffer == math.inf and arrival_rate is None:
            raise ValueError("An unlimited cap before an unlimited buffer would release jobs without end.")
        self.env = simpy.Environment()
        customers, *seeds = np.random.SeedSequence(seed).spawn(1 + len(stations))
        self.machines = [Machine(self.env, station, seed) for station, seed in zip(stations, seeds, strict=True)]
        self.cap = cap
        self.repair_first: int | None = None
        """Index of the machine that jumps the queue for the repairer; None: first broken, first repaired."""
        self.broken: list[Machine] = []
        self.released = 0
        self.finished = 0
        self.sold = 0
        self.hours_in_line = 0.0
        """Sum over the finished jobs of the time from release to finish [h]."""
        self.wip = Level(self.env)
        self.stock = Level(self.env)
        self.backlog = Level(self.env)

        self._has_orders = orders is not None
        self._machine_broke = Signal(self.env)
        self._repairer_called = Signal(self.env)
        self._customers = np.random.default_rng(customers)
        for machine, following in zip(self.machines, [*self.machines[1:], None], strict=True):
            self.env.process(self._operate(machine, following))
        for _ in range(len(stations) if repairers is None else repairers):
            self.env.process(self._repair())
        if orders is not None:
            self.env.process(self._order(orders))
        self._by_cards = arrival_rate is None
        if arrival_rate is not None:
            self.env.process(self._arrive(arrival_rate))
        self._release()

    def run(self, until: float) -> None:
        """Simulate up to the time ``until`` [h]."""
        self.env.run(until=until)

    def set_cap(self, cap: float) -> None:
        """Put this many cards into play; jobs that hold a card beyond a lowered cap keep it until they are sold."""
        self.cap = cap
        self._release()

    def call_repairer(self, first: int) -> None:
        """From now on machine ``first`` is repaired before any other, and at once: what was begun elsewhere waits."""
        self.repair_first = first
        if self.machines[first] in self.broken:
            self._repairer_called.fire()

    def _release(self) -> None:
        first = self.machines[0]
        while self._by_cards and self.wip.value + self.stock.value < self.cap and first.has_place:
            self._admit(first)

    def _admit(self, first: Machine) -> None:
        self.released += 1
        self.wip.add(1)
        first.jobs.append(self.env.now)
        first.job_came.fire()

    def _operate(self, machine: Machine, following: Machine | None) -> Process:
        timeout = self.env.timeout
        while True:
            if not machine.jobs:
                machine.state = State.STARVED
                yield machine.job_came.wait()
            machine.state = State.WORKING
            work = machine.draw_service()
            while work > machine.until_failure:
                yield timeout(machine.until_failure)
                work -= machine.until_failure
                machine.until_failure = machine.draw_until_failure()
                yield self._break_down(machine)
                machine.state = State.WORKING
            yield timeout(work)
            machine.until_failure -= work
            if following is not None and not following.has_place:
                machine.state = State.BLOCKED
                yield following.place_freed.wait()
            self._pass_on(machine, following)

    def _pass_on(self, machine: Machine, following: Machine | None) -> None:
        released_at = machine.jobs.popleft()
        if following is not None:
            following.jobs.append(released_at)
            following.job_came.fire()
        else:
            self._finish(released_at)
        machine.place_freed.fire()
        self._release()

    def _finish(self, released_at: float) -> None:
        self.finished += 1
        self.hours_in_line += self.env.now - released_at
        self.wip.add(-1)
        if not self._has_orders:
            return
        if self.backlog.value:
            self.backlog.add(-1)
            self.sold += 1
        else:
            self.stock.add(1)

    def _break_down(self, machine: Machine) -> simpy.Event:
        machine.state = State.BROKEN
        machine.repair_left = machine.draw_repair()
        self.broken.append(machine)
        self._machine_broke.fire()
        return machine.repaired.wait()

    def _repair(self) -> Process:
        while True:
            while not self.broken:
                yield self._machine_broke.wait()
            favourite = None if self.repair_first is None else self.machines[self.repair_first]
            machine = favourite if favourite in self.broken else self.broken[0]
            self.broken.remove(machine)
            machine.state = State.IN_REPAIR
            began = self.env.now
            done = self.env.timeout(machine.repair_left)
            yield done | self._repairer_called.wait()
            if done.processed:
                machine.repaired.fire()
            else:
                machine.repair_left -= self.env.now - began
                machine.state = State.BROKEN
                self.broken.insert(0, machine)

    def _arrive(self, rate: float) -> Process:
        while True:
            yield self.env.timeout(self._customers.standard_exponential() / rate)
            self._admit(self.machines[0])

    def _order(self, orders: Orders) -> Process:
        # Thinning (Lewis and Shedler 1979): candidates at the peak rate, each kept with probability rate / peak.
        while True:
            yield self.env.timeout(self._customers.standard_exponential() / orders.peak)
            if self._customers.random() * orders.peak >= orders.rate(self.env.now):
                continue
            if self.stock.value:
                self.stock.add(-1)
                self.sold += 1
                self._release()
            else:
                self.backlog.add(1)
