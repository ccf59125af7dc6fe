"""Plants that somebody else's protocol speaks for: each file is one driver, a class that implements ``Plant``.

A driver is called with ``signals``, ``safe_action`` and ``folder``; its keyword-only parameters are its own keys in
serve.yaml. A package that is missing is named, with the pip command, when the driver is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rlbridge.plants.plant import Plant, Signal

_HOMES = {
    "opcua": "rlbridge.plants.drivers.opcua:OpcUaPlant",
    "modbus": "rlbridge.plants.drivers.modbus:ModbusPlant",
    "fmu": "rlbridge.plants.drivers.fmu:FmuPlant",
    "simpy": "rlbridge.plants.drivers.simpy:SimPyPlant",
}


class Driver(Protocol):
    """How a driver is made."""

    def __call__(
        self, signals: Sequence[Signal], safe_action: Mapping[str, float], folder: Path, **settings: object
    ) -> Plant:
        """``folder`` is where relative files are looked for, ``settings`` are the driver's own keys of serve.yaml."""


class UnknownDriver(ValueError):
    """No driver of that name; the message lists those there are."""


def load_driver(name: str) -> Driver:
    """The driver behind ``driver: name`` in a serve.yaml.

    Raises:
        UnknownDriver: there is none of that name.
        ModuleNotFoundError: its package is not installed; names the pip command.
    """
    if name not in _HOMES:
        raise UnknownDriver(f"driver {name!r}: there is none of that name. Drivers: {', '.join(_HOMES)}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


def driver_settings(driver: Driver) -> list[str]:
    """The keys of serve.yaml that are the driver's own, without those that every driver gets."""
    parameters = inspect.signature(driver).parameters.values()
    return [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]


__all__ = ["Driver", "UnknownDriver", "driver_settings", "load_driver"]
