"""What a plant is: signals to read and to write, a way to start, and an action that is safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Value = float | NDArray[np.float64]
"""One signal's value, or ``[N]`` of them where a simulated plant is a batch of N."""


@dataclass(frozen=True)
class Signal:
    """One number that a plant shows or takes.

    Attributes:
        name: as in serve.yaml, observations and the audit.
        role: ``observation`` is read and observed by the policy; ``monitor`` is read for interlocks and the task only;
            ``action`` is written, and read back where the plant can tell its set point; ``heartbeat`` is written 0 and
            1 in turn, every period, so that a controller beside the plant notices when nobody is there any more.
        low, high: in ``unit``. No action outside them is ever written; a reading outside them is of bad quality.
        unit: for people, such as ``K`` or ``L/min``.
        max_rate: the largest change of an action in ``unit`` per second; None = any.
        hold: seconds for which the last good value of what is read stands in for a bad one; then the plant goes safe.
        tag: where a driver finds it, in that driver's words (docs/drivers.md); None = under its name.
    """

    name: str
    role: Literal["observation", "monitor", "action", "heartbeat"]
    low: float
    high: float
    unit: str = ""
    max_rate: float | None = None
    hold: float = 0.0
    tag: Any = None


@dataclass(frozen=True)
class Reading:
    """All that a plant shows at one moment.

    Attributes:
        values: by signal; actions too, as they stand in the plant, if it can tell. May leave out what is bad.
        time: when the plant measured them: seconds, on its own clock (simulated, or since the epoch).
        bad: the signals whose quality is bad: sensor broken, connection lost, not yet measured.
    """

    values: Mapping[str, Value]
    time: float
    bad: frozenset[str] = field(default_factory=frozenset)


class Plant(Protocol):
    """What a user writes, or a driver does. Every call may raise; it then ends the session, never the server.

    Making one must not touch the device (a server makes one to learn the signals): ``start`` connects. From then on
    calls come one at a time; on the wall clock, from one thread. A call that waits for a device must have a deadline
    of its own. Dropped connections may raise, or be shown as bad quality; the latter is ridden out for ``Signal.hold``.

    Attributes:
        signals: all of them, in the order in which observations and actions list them.
    """

    signals: Sequence[Signal]

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """Get ready for an episode: a simulator goes to its initial state; a real plant waits for its conditions, runs
        its start-up, or refuses by raising :class:`PlantRefused`. ``seed`` is for simulators, None = any."""

    def read(self) -> Reading: ...

    def write(self, commands: Mapping[str, Value]) -> None:
        """Set actions; signals that are not among ``commands`` stay as they are."""

    def safe_action(self) -> Mapping[str, float]:
        """For every action signal, what to go to when nobody is in control."""

    def close(self) -> None:
        """Let go of the device; writes nothing (the gate has already made it safe). Called also without a start."""


@runtime_checkable
class SimulatedPlant(Plant, Protocol):
    """A plant whose time passes only when it is told to; every other plant runs on the wall clock."""

    def advance(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""


class PlantLost(RuntimeError):
    """The plant, or the way to it, is gone or does not answer within its deadline; the message names which and what to
    look at. It ends the session."""


@runtime_checkable
class BatchPlant(SimulatedPlant, Protocol):
    """N simulated plants in one object, for the price of little more than one: every :data:`Value` is an ``[N]``.

    Its class takes ``num_envs`` (default 1) when made. ``start`` is not called.
    """

    num_envs: int

    def start_rows(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], options: Mapping[str, Any]) -> None:
        """Set the ``rows`` ([N] flags) to an initial state and leave the others as they are.

        ``seeds`` has N entries: the row's own seed, or None to go on with the row's generator. For rows that behave
        as a plant alone with that seed would, give every row a generator of its own.
        """


class PlantRefused(RuntimeError):
    """The plant does not start now; the message says what it waits for and who can give it."""
