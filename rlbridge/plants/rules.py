"""From a plant's signals and the gate's settings to the rules that :func:`~rlbridge.plants.gate.decide` goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlbridge.nearest import did_you_mean
from rlbridge.plants.expression import Expression
from rlbridge.plants.gate import InterlockRule, Numbers, Rules
from rlbridge.plants.plant import Signal
from rlbridge.plants.settings import Gate


class BadPlant(ValueError):
    """The plant's signals and the settings do not fit together; the message says what to change."""


def rules_of(signals: Sequence[Signal], gate: Gate, safe_action: Mapping[str, float]) -> Rules:
    """The gate's rules.

    Args:
        signals: all of the plant's.
        gate: the settings; their safe action wins over ``safe_action``, the plant's own.

    Raises:
        BadPlant, ExpressionError: they do not fit together.
    """
    _check(signals)
    actions = [signal for signal in signals if signal.role == "action"]
    names = tuple(signal.name for signal in actions)
    readable = [signal.name for signal in signals if signal.role in ("observation", "monitor", "action")]
    safe = {**safe_action, **gate.safe_action}
    for name in names:
        if name not in safe:
            raise BadPlant(f"the safe action says nothing about {name!r}: give it in gate.safe_action")
    by_name = {signal.name: signal for signal in actions}
    return Rules(
        names,
        np.array([signal.low for signal in actions]),
        np.array([signal.high for signal in actions]),
        np.array([np.inf if signal.max_rate is None else signal.max_rate for signal in actions]),
        _values(safe, by_name, "gate.safe_action"),
        tuple(
            InterlockRule(
                Expression(lock.when, readable, unknown=True),
                None if lock.until is None else Expression(lock.until, readable, unknown=False),
                _values(safe if lock.then == "safe" else lock.then, by_name, f"the interlock {lock.when!r}"),
                lock.latch,
            )
            for lock in gate.interlocks
        ),
    )


def _values(values: Mapping[str, float], actions: Mapping[str, Signal], where: str) -> Numbers:
    for name, value in values.items():
        signal = actions.get(name)
        if signal is None:
            meant = did_you_mean(name, actions, f"the actions are {', '.join(actions)}.")
            raise BadPlant(f"{where} sets {name!r}, which is no action; {meant}")
        if not signal.low <= value <= signal.high:
            raise BadPlant(f"{where}: {name} = {value:g} {signal.unit} is outside [{signal.low:g}, {signal.high:g}]")
    return np.array([values.get(name, np.nan) for name in actions], np.float64)


def _check(signals: Sequence[Signal]) -> None:
    names = [signal.name for signal in signals]
    for signal in signals:
        if names.count(signal.name) > 1:
            raise BadPlant(f"two signals are called {signal.name!r}")
        if not signal.name.isidentifier():
            raise BadPlant(f"the signal {signal.name!r}: a name is letters, digits and _, for formulas")
        if not (np.isfinite([signal.low, signal.high]).all() and signal.low < signal.high):
            raise BadPlant(f"the signal {signal.name!r} needs finite low < high, not [{signal.low}, {signal.high}]")
        if signal.max_rate is not None and not (0 < signal.max_rate < np.inf):
            raise BadPlant(f"the signal {signal.name!r}: max_rate = {signal.max_rate} should be above 0, or left out")
        if not 0 <= signal.hold < np.inf:
            raise BadPlant(f"the signal {signal.name!r}: hold = {signal.hold} should be a number of seconds from 0 on")
    for role in ("observation", "action"):
        if not any(signal.role == role for signal in signals):
            raise BadPlant(f"the plant has no signal of role {role!r}")


def describe(rules: Rules) -> dict[str, Any]:
    """The rules as JSON, for the audit; :func:`restore` reads them back."""
    return {
        "actions": list(rules.names),
        "low": rules.low.tolist(),
        "high": rules.high.tolist(),
        "max_rate": [None if np.isinf(rate) else rate for rate in rules.max_rate.tolist()],
        "safe": rules.safe.tolist(),
        "interlocks": [
            {
                "when": lock.when.text,
                "until": lock.until and lock.until.text,
                "then": [None if np.isnan(value) else value for value in lock.then.tolist()],
                "latch": lock.latch,
            }
            for lock in rules.interlocks
        ],
    }


def restore(described: Mapping[str, Any], readable: Sequence[str]) -> Rules:
    """The rules that :func:`describe` wrote down.

    Raises:
        KeyError, TypeError, ValueError: nobody wrote this down.
    """
    nan = float("nan")
    return Rules(
        tuple(described["actions"]),
        np.array(described["low"], np.float64),
        np.array(described["high"], np.float64),
        np.array([np.inf if rate is None else rate for rate in described["max_rate"]], np.float64),
        np.array(described["safe"], np.float64),
        tuple(
            InterlockRule(
                Expression(lock["when"], readable, unknown=True),
                None if lock["until"] is None else Expression(lock["until"], readable, unknown=False),
                np.array([nan if value is None else value for value in lock["then"]], np.float64),
                lock["latch"],
            )
            for lock in described["interlocks"]
        ),
    )
