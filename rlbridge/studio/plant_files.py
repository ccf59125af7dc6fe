"""The plants of the folders that the studio may serve, and where each one's operator's file and audit lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rlbridge.plants.plant_file import SECTIONS, PlantFile

Range = tuple[float | None, float | None, str]
"""Low, high and unit of a signal, as far as they are said."""


@dataclass(frozen=True)
class PlantEntry:
    """A plant with an operator's file.

    Attributes:
        name: of its folder, with the file's name if that is not serve.yaml and the entry's if there are several.
        file: that it stands in.
        operator, audit: the two files.
        mode: of the gate, where no operator has switched it.
        live: it runs on the wall clock.
        period: of its clock [s].
        ranges: of its signals, as far as the file says them.
        interlocks: when, until, and whether it latches, of each.
    """

    name: str
    file: Path
    operator: Path
    audit: Path
    mode: str = "active"
    live: bool = False
    period: float = 1.0
    ranges: Mapping[str, Range] = field(default_factory=dict)
    interlocks: tuple[tuple[str, str | None, bool], ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """A file that may hold a plant and cannot be read: no e-stop must vanish without a word."""

    file: Path
    problem: str


def plants_in(catalog: Mapping[str, Path]) -> tuple[list[PlantEntry], list[Unreadable]]:
    """The plants with an operator's file in the YAML files of these folders, and the files that are no YAML."""
    entries: list[PlantEntry] = []
    unreadable: list[Unreadable] = []
    for name, folder in catalog.items():
        for file in sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")}, key=lambda file: file.name):
            try:
                content = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
                unreadable.append(Unreadable(file, " ".join(str(error).split())))
                continue
            entries += _entries(name if file.name == "serve.yaml" else f"{name}/{file.name}", file, content)
    return entries, unreadable


def _entries(name: str, file: Path, content: Any) -> list[PlantEntry]:
    several = content.get("envs") if isinstance(content, dict) else None
    parts = several if isinstance(several, list) else [content]
    found = []
    for k, part in enumerate(parts):
        gate = part.get("gate") if isinstance(part, dict) and SECTIONS & part.keys() else None
        if isinstance(gate, dict) and isinstance(gate.get("operator"), str):
            own = name if part is content else f"{name}/{part.get('name') or k + 1}"
            found.append(_entry(own, file, part, gate))
    return found


def _entry(name: str, file: Path, part: dict[str, Any], gate: dict[str, Any]) -> PlantEntry:
    """From what the file says; one that is not valid has its e-stop all the same."""
    operator, audit = file.parent / gate["operator"], file.parent / str(gate.get("audit") or "audit.jsonl")
    try:
        plant = PlantFile.model_validate(part)
    except ValidationError:
        return PlantEntry(name, file, operator, audit)
    return PlantEntry(
        name,
        file,
        operator,
        audit,
        plant.gate.mode,
        plant.driver is not None or plant.clock.real_time,
        plant.clock.period,
        {key: (signal.low, signal.high, signal.unit or "") for key, signal in plant.signals.items()},
        tuple((str(lock.when), lock.until and str(lock.until), lock.latch) for lock in plant.gate.interlocks),
    )
