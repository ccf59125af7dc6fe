"""SimPy: signals are attributes of a discrete-event model; a period is ``env.run(until=now + dt)``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from rlbridge.entry_point import resolve_factory
from rlbridge.plants.drivers.needs import needs
from rlbridge.plants.drivers.seconds import seconds
from rlbridge.plants.plant import PlantLost, Reading, Signal, Value

with needs("sim"):
    import simpy


class SimPyPlant:
    """A simulated plant that is a SimPy model. A signal's ``tag`` is an attribute of the model such as ``queue.level``;
    without one, the signal's name is.

    Each start makes a new ``simpy.Environment`` and calls the model's factory with it, the seed, and ``model_kwargs``;
    what that returns is the model. An attribute that can be called is called to be read. NaN and infinity are bad.

    Args:
        signals: whose tags are attributes, with dots from one to the next.
        safe_action: what to go to when nobody is in control.
        folder: where a relative ``file.py`` is.
        model: ``module:factory`` or ``file.py:factory``; called as ``factory(env, seed, **model_kwargs)``, seed None
            for any.
        model_kwargs: passed to the factory.
        time_unit: what one unit of the model's time stands for: seconds, or such as ``1 min``.
        timeout: seconds of real time for each period: a model in which no time passes any more would run for ever.

    Raises:
        UnknownFactory: ``model`` leads nowhere. ValueError: a duration that is none.
    """

    def __init__(
        self,
        signals: Sequence[Signal],
        safe_action: Mapping[str, float],
        folder: Path,
        *,
        model: str,
        model_kwargs: Mapping[str, Any] | None = None,
        time_unit: float | str = 1.0,
        timeout: float | str = 30.0,
    ) -> None:
        self.signals = signals
        self._safe_action = dict(safe_action)
        self._tags = {signal.name: str(signal.tag or signal.name) for signal in signals}
        self._factory, self._kwargs = resolve_factory(model, folder), dict(model_kwargs or {})
        self._unit, self._timeout = seconds("time_unit", time_unit), seconds("timeout", timeout)
        self._env = simpy.Environment()
        self._model: Any = None

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        self._env = simpy.Environment()
        self._model = self._factory(self._env, seed, **self._kwargs)

    def read(self) -> Reading:
        values = {name: self._get(tag) for name, tag in self._tags.items()}
        bad = frozenset(name for name, value in values.items() if not math.isfinite(value))
        good: dict[str, Value] = {name: value for name, value in values.items() if name not in bad}
        return Reading(good, self._env.now * self._unit, bad)

    def write(self, commands: Mapping[str, Value]) -> None:
        for name, value in commands.items():
            *path, last = self._tags[name].split(".")
            setattr(reduce(getattr, path, self._model), last, float(value))

    def advance(self, dt: float) -> None:
        """Let the model run.

        Raises:
            PlantLost: time does not get on in it; and whatever the model raises.
        """
        until = self._env.now + dt / self._unit
        deadline = time.monotonic() + self._timeout
        while self._env.peek() < until:
            self._env.step()
            if time.monotonic() > deadline:
                raise PlantLost(
                    f"the SimPy model did not get from {self._env.now:g} to {until:g} within {self._timeout:g} s: does "
                    "something in it repeat without time passing?"
                )
        self._env.run(until=until)

    def safe_action(self) -> Mapping[str, float]:
        return self._safe_action

    def close(self) -> None:
        self._model = None

    def _get(self, tag: str) -> float:
        value = reduce(getattr, tag.split("."), self._model)
        return float(value() if callable(value) else value)
