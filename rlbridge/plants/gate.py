"""What the gate decides: from what is asked and what is seen to what is applied. Pure, so that it can be replayed.

Nothing here reads a clock, a plant or a file; :func:`decide` of equal arguments is equal, for one plant (N = 1) and for
a batch of N. The audit records its arguments, and ``rlbridge audit verify`` calls it again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.plants.expression import Expression

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Looks = Sequence[Mapping[str, Any]]
"""What the interlocks' conditions are about: by name, a number or [N]. First the values with every bad one replaced by
the last good one; then, if some are out of their signals' ranges, the same with those as the plant gave them."""


class Order(IntEnum):
    """What the gate is to do with one plant this time."""

    ACT = 0
    """Apply the requested action, as far as it may be."""
    HOLD = 1
    """Nothing fresh was asked for: keep the last applied action."""
    RAMP = 2
    """Go to the safe action, no faster than the rate allows."""
    TRIP = 3
    """Go to the safe action at once."""
    ESTOP = 4
    """The same, by an operator's hand."""


class Reason(IntFlag):
    """Why an applied action is not the requested one; ``info["reasons"]`` has these bits."""

    LIMIT = 1
    RATE = 2
    INTERLOCK = 4
    HOLD = 8
    RAMP = 16
    TRIP = 32
    ESTOP = 64
    UNWRITTEN = 128
    """The mode forbids writing; what is called applied is what stands in the plant."""
    REFUSED = 256
    """The action came too late to be used."""
    READBACK = 512
    """The plant's set point was another one than was written last."""


@dataclass(frozen=True)
class InterlockRule:
    """While engaged, some actions have fixed values.

    Attributes:
        when: engages it.
        until: ends it; None: as soon as ``when`` no longer holds.
        then: [A] the values, NaN for actions that it leaves alone.
        latch: it stays engaged until somebody clears it.
    """

    when: Expression
    until: Expression | None
    then: Numbers
    latch: bool = False

    def begins(self, looks: Looks) -> Any:
        """[N] or a bool: ``when`` holds in one of the looks. A tank that overflows its sensor's range is no less full
        because the last good value stands in."""
        return functools.reduce(np.logical_or, (self.when(look) for look in looks))

    def ends(self, looks: Looks) -> Any:
        """[N] or a bool: ``until`` holds in all of them."""
        if self.latch:
            return False
        if self.until is None:
            return True
        return functools.reduce(np.logical_and, (self.until(look) for look in looks))


@dataclass(frozen=True)
class Rules:
    """What is allowed; every array has one number for each of the A actions.

    Attributes:
        names: of the actions.
        low, high: limits.
        max_rate: largest change a second, ``inf`` for any.
        safe: where to go when nobody is in control.
        interlocks: later ones win.
    """

    names: tuple[str, ...]
    low: Numbers
    high: Numbers
    max_rate: Numbers
    safe: Numbers
    interlocks: tuple[InterlockRule, ...] = ()


@dataclass(frozen=True)
class State:
    """What the gate remembers.

    Attributes:
        applied: [N, A] the last applied action.
        engaged: [N, I] which interlocks are in force.
    """

    applied: Numbers
    engaged: Flags


def decide(
    rules: Rules, state: State, order: NDArray[np.int8], requested: Numbers, looks: Looks, dt: float
) -> tuple[State, NDArray[np.int64]]:
    """One decision.

    Args:
        rules: what is allowed.
        state: after the last decision.
        order: [N] of :class:`Order`.
        requested: [N, A], finite; only rows with ``Order.ACT`` count.
        looks: what the interlocks go by.
        dt: seconds since the last decision.

    Returns:
        The new state, whose ``applied`` is within the limits, and within ``max_rate * dt`` of the old one's except
        where an interlock, a trip or an e-stop says otherwise; and [N, A] of :class:`Reason`.
    """
    acts, trips = order == Order.ACT, order >= Order.TRIP
    plain = bool(acts.all())
    wanted = requested if plain else _by_order(rules, state, order, requested)
    limited = np.minimum(np.maximum(wanted, rules.low), rules.high)
    reasons = np.where(limited != wanted, np.int64(Reason.LIMIT), np.int64(0))
    step = rules.max_rate * dt
    applied = np.minimum(np.maximum(limited, state.applied - step), state.applied + step)
    reasons |= np.where(applied != limited, np.int64(Reason.RATE), np.int64(0))
    engaged = state.engaged
    if rules.interlocks:
        engaged = _engage(rules, engaged, looks)
        for i, interlock in enumerate(rules.interlocks):
            if engaged[:, i].any():
                fixed = engaged[:, i, None] & ~np.isnan(interlock.then)
                applied = np.where(fixed, interlock.then, applied)
                reasons = np.where(fixed, Reason.INTERLOCK | (reasons & Reason.LIMIT), reasons)
    if not plain:
        reasons |= np.where(acts, 0, np.left_shift(np.int64(Reason.HOLD) >> 1, order.astype(np.int64)))[:, None]
        applied = np.where(trips[:, None], rules.safe, applied)
    return State(applied, engaged), reasons


def _by_order(rules: Rules, state: State, order: NDArray[np.int8], requested: Numbers) -> Numbers:
    column = order[:, None]
    asked: Numbers = np.where(column == Order.ACT, requested, np.where(column == Order.HOLD, state.applied, rules.safe))
    return asked


def _engage(rules: Rules, engaged: Flags, looks: Looks) -> Flags:
    after = np.empty_like(engaged)
    for i, interlock in enumerate(rules.interlocks):
        going_on = np.logical_and(engaged[:, i], np.logical_not(interlock.ends(looks)))
        after[:, i] = np.logical_or(interlock.begins(looks), going_on)
    return after
