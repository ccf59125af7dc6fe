"""A plant in a serve.yaml: from its sections to environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from rlbridge.entry_point import UnknownFactory, names_parameter, resolve_factory
from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.nearest import did_you_mean
from rlbridge.plants.drivers import driver_settings, load_driver
from rlbridge.plants.env import PlantEnv, PlantVectorEnv
from rlbridge.plants.plant import Plant, Signal
from rlbridge.plants.rules import BadPlant
from rlbridge.plants.settings import Clock, Duration, Gate, Number, Rate, Settings, Task

SECTIONS = frozenset({"signals", "clock", "gate", "task", "driver"})
"""What tells a plant from any other environment in a serve.yaml."""


class SignalSettings(Settings):
    """One signal; what is left out is as the plant's class has it."""

    role: Literal["observation", "monitor", "action", "heartbeat"] | None = None
    unit: str | None = None
    low: Number | None = None
    high: Number | None = None
    max_rate: Rate | None = Field(None, description="In the unit per second, or such as 2/min.")
    hold: Duration | None = None
    tag: Any = Field(None, description="Where a driver finds it, in that driver's words.")

    def given(self) -> dict[str, Any]:
        """The fields of a :class:`~rlbridge.plants.Signal` that are set."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class PlantFile(Settings):
    """One plant in a serve.yaml: a Python class (``env``) or a device behind a driver (``driver`` and its own keys)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    env: str | None = Field(None, min_length=1, description="module:Class or file.py:Class of a plant.")
    driver: str | None = Field(None, description="opcua, modbus, …; its own keys, such as endpoint, stand beside it.")
    name: str | None = Field(None, min_length=1, description="What clients call it; default: taken from env or driver.")
    summary: str = ""
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Passed to the plant's class.")
    signals: dict[str, SignalSettings] = Field(
        default_factory=dict, description="All of a driver's; of a class's own, those to be narrowed."
    )
    clock: Clock = Clock()  # type: ignore[call-arg]
    gate: Gate = Gate()  # type: ignore[call-arg]
    task: Task = Task()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _one_source(self) -> PlantFile:
        if (self.env is None) == (self.driver is None):
            raise ValueError("a plant is given by either env: (a Python class) or driver:")
        if self.driver is not None and not self.signals:
            raise ValueError("a plant behind a driver needs a section signals")
        if self.driver is None and self.model_extra:
            key = next(iter(self.model_extra))
            meant = did_you_mean(key, type(self).model_fields, "keys of a driver need driver:")
            raise ValueError(f"unknown key {key!r}; {meant}")
        if self.driver is not None and self.kwargs:
            raise ValueError("kwargs: are for a Python class; a driver's keys stand beside driver:")
        return self


class PlantFactory:
    """Makes the environments of one plant file; called, it makes one.

    Args:
        file: its content.
        folder: where it lies: ``file.py:Class``, the audit's and the operator's file are looked for here.

    Raises:
        UnknownFactory, UnknownDriver: ``env`` or ``driver`` leads nowhere.
        ModuleNotFoundError: the driver's package is not installed; names the pip command.
    """

    def __init__(self, file: PlantFile, folder: Path) -> None:
        self.file, self.folder = file, folder
        self.make_plant = _driver(file, folder) if file.driver is not None else resolve_factory(str(file.env), folder)
        self.name = file.name or (file.driver or str(file.env).rpartition(":")[2])
        self.batches = file.driver is None and not file.clock.real_time and names_parameter(self.make_plant, "num_envs")

    def __call__(self, render_mode: str | None = None, held_by: str = "local", logs: Path | None = None) -> PlantEnv:
        """One environment; ``held_by`` is who acts, for the audit.

        Raises:
            BadPlant, ExpressionError, and whatever making the plant raises.
        """
        plant = self.make_plant(**self.file.kwargs)
        _complete(plant)
        env = PlantEnv(plant, render_mode=render_mode, logs=logs, **self._sections(plant))
        env.controlled.guard.journal.by = held_by
        return env

    def batch(
        self, num_envs: int, autoreset_mode: AutoresetMode | None = None, held_by: str = "local"
    ) -> PlantVectorEnv:
        """N simulated plants in one."""
        plant: Any = self.make_plant(**self.file.kwargs, num_envs=num_envs)
        mode = autoreset_mode or AutoresetMode.NEXT_STEP
        envs = PlantVectorEnv(plant, autoreset_mode=mode, **self._sections(plant))
        envs.controlled.guard.journal.by = held_by
        return envs

    def summary(self) -> str:
        """The file's summary, and what the numbers of an observation and an action are, with their units."""
        plant = self.make_plant(**self.file.kwargs)
        signals = self._sections(plant)["signals"]
        plant.close()
        units = {s.name: f"{s.name} [{s.unit}]" if s.unit else s.name for s in signals}
        observed = [units[s.name] for s in signals if s.role == "observation"]
        actions = [units[s.name] for s in signals if s.role == "action"]
        observed += actions if self.file.task.observe_applied else []
        return f"{self.file.summary} Observation: {', '.join(observed)}. Action: {', '.join(actions)}.".lstrip()

    def _sections(self, plant: Plant) -> dict[str, Any]:
        file = self.file
        signals = plant.signals if file.driver else narrowed(plant.signals, file.signals)
        return {"gate": file.gate, "task": file.task, "clock": file.clock, "folder": self.folder, "signals": signals}


def load_plant(place: str | Path, logs: str | Path | None = None) -> PlantEnv:
    """The environment of a plant's serve.yaml, in this process.

    Args:
        place: the file, or the folder that holds it.
        logs: where the audit and the operator's file are, if not beside it.

    Raises:
        BadPlant, ExpressionError, UnknownFactory, pydantic.ValidationError: the file is not a plant's.
    """
    path = Path(place)
    path = path / "serve.yaml" if path.is_dir() else path
    factory = PlantFactory(PlantFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))), path.parent)
    return factory(logs=None if logs is None else Path(logs))


def narrowed(signals: Sequence[Signal], settings: Mapping[str, SignalSettings]) -> list[Signal]:
    """A plant's own signals with what serve.yaml says about them; limits and rates may only become narrower.

    Raises:
        BadPlant: an unknown name, or something wider than the plant allows.
    """
    names = [signal.name for signal in signals]
    for name in settings:
        if name not in names:
            meant = did_you_mean(name, names, f"it has {', '.join(names)}.")
            raise BadPlant(f"signals: the plant has no signal {name!r}; {meant}")
    return [_narrow(signal, settings[signal.name]) if signal.name in settings else signal for signal in signals]


def _narrow(signal: Signal, settings: SignalSettings) -> Signal:
    new = replace(signal, **settings.given())
    if new.low < signal.low or new.high > signal.high:
        raise BadPlant(
            f"signals.{signal.name}: [{new.low:g}, {new.high:g}] is wider than the plant's own "
            f"[{signal.low:g}, {signal.high:g}]"
        )
    if signal.max_rate is not None and new.max_rate is not None and new.max_rate > signal.max_rate:
        raise BadPlant(f"signals.{signal.name}: max_rate {new.max_rate:g} is above the plant's own {signal.max_rate:g}")
    return new


def _complete(plant: Any) -> None:
    """Whether it has what every plant has.

    Raises:
        BadPlant: something is missing; names it.
    """
    start = "start_rows" if hasattr(plant, "num_envs") else "start"
    missing = [name for name in ("signals", start, "read", "write", "safe_action", "close") if not hasattr(plant, name)]
    if missing:
        raise BadPlant(
            f"{type(plant).__name__} is no plant yet, it has no {', '.join(missing)}: what each is for stands in "
            "rlbridge.plants.Plant (`rlbridge new plant NAME` makes an example)"
        )


def _driver(file: PlantFile, folder: Path) -> Callable[..., Plant]:
    """Makes the plant behind the file's driver."""
    own = file.model_extra or {}
    driver = load_driver(str(file.driver))
    known = driver_settings(driver)
    for key in own:
        if key not in known:
            meant = did_you_mean(key, [*known, *PlantFile.model_fields], f"the driver's are {', '.join(known)}.")
            raise UnknownFactory(f"driver {file.driver!r} has no key {key!r}; {meant}")
    signals = [_signal(name, settings) for name, settings in file.signals.items()]
    return lambda: driver(signals, file.gate.safe_action, folder, **own)


def _signal(name: str, settings: SignalSettings) -> Signal:
    given = settings.given()
    missing = [key for key in ("role", "low", "high") if key not in given]
    if missing == ["low", "high"] and given["role"] == "heartbeat":
        given, missing = {**given, "low": 0.0, "high": 1.0}, []
    if missing:
        raise UnknownFactory(f"signals.{name} needs {', '.join(missing)}: a driver does not know them")
    return Signal(name, **given)
