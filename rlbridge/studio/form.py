"""A run's settings as the fields of a form, made from the config's own schema; and what was typed as a run again."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from rlbridge.config import ALGORITHMS, ConfigError, json_schema, load_config

MOST_YAML = 32_768
_MOST_COLLECTIONS = 200
Kind = Literal["whole", "number", "text", "truth", "choice", "wholes", "mapping"]
Tree = dict[str, Any]

# What a page may not set: paths of files on this machine, and where runs live.
_NOT_HERE = ("env.credentials", "run.dir", "algorithm.name")


@dataclass(frozen=True)
class Field:
    """One setting.

    Attributes:
        path: such as ``algorithm.learning_rate``.
        kind: what is typed; ``wholes`` are whole numbers with commas between, ``mapping`` is YAML.
        help: the sentence that the config says of it.
        default: what holds if nothing is typed.
        choices: of a choice.
        optional: nothing (null) is a value, too.
        limits: its bounds in words of mathematics, such as ``> 0``; empty where there are none.
    """

    path: str
    kind: Kind
    help: str
    default: Any
    choices: tuple[str, ...] = ()
    optional: bool = False
    limits: str = ""

    @property
    def name(self) -> str:
        return self.path.partition(".")[2]

    def shown(self, value: Any) -> Any:
        """A value of the tree as the field shows it."""
        if self.kind == "truth" or (self.kind == "choice" and not self.optional):
            return value
        if value is None:
            return None if self.kind == "choice" else ""
        if isinstance(value, bool):
            return str(value).lower()
        if self.kind == "wholes":
            return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if self.kind == "mapping":
            return yaml.safe_dump(value, default_flow_style=True).strip() if value else ""
        return str(value)

    def meant(self, typed: Any) -> Any:
        """What was typed as a value of the tree; what is no such value stays text, which validation then refuses."""
        if self.kind == "truth":
            return bool(typed)
        if self.kind == "choice":
            return {"true": True, "false": False}.get(typed, typed)
        text = "" if typed is None else str(typed).strip()
        if not text:
            return None if self.optional else copy.deepcopy(self.default)
        if self.kind == "text":
            return text
        if self.kind == "wholes":
            return [_number(part.strip()) for part in text.split(",")]
        if self.kind == "mapping":
            try:
                require_plain(text)
                return json.loads(json.dumps(yaml.safe_load(text)))
            except (ConfigError, yaml.YAMLError, ValueError, TypeError, RecursionError):
                return text  # no run file holds bytes or dates either
        return _number(text)


def require_plain(text: str) -> None:
    """Refuse YAML that could keep the page busy: a long text, and aliases, which a few lines blow up to gigabytes.

    Raises:
        ConfigError: it is that.
    """
    if len(text) > MOST_YAML:
        raise ConfigError(f"{len(text):,} characters are too many for a page; at most {MOST_YAML:,}.")
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"this is not YAML: {' '.join(str(error).split())}") from None
    if any(isinstance(event, yaml.AliasEvent) for event in events):
        raise ConfigError("no aliases (*name) here: write it out.")
    if sum(isinstance(event, yaml.CollectionStartEvent) for event in events) > _MOST_COLLECTIONS:
        raise ConfigError("this is nested too much for a run.")


def fields_of(algorithm: str) -> dict[str, list[Field]]:
    """The fields of each section, in the order of the config, for that algorithm."""
    schema = json_schema()
    kinds = schema["$defs"]
    sections: dict[str, list[Field]] = {}
    for section, told in schema["properties"].items():
        name = ALGORITHMS[algorithm].__name__ if section == "algorithm" else told["$ref"].rpartition("/")[2]
        properties = kinds[name]["properties"]
        paths = {f"{section}.{key}": value for key, value in properties.items()}
        sections[section] = [_field(path, value) for path, value in paths.items() if path not in _NOT_HERE]
    return sections


def problems_of(tree: Mapping[str, Any], paths: set[str]) -> dict[str, list[str]]:
    """What is wrong with a run, by the field that it should stand beside; "" is the whole form.

    Args:
        tree: the run as nested mappings.
        paths: the fields that there are.
    """
    try:
        load_config(tree)
    except ConfigError as error:
        found: dict[str, list[str]] = {}
        for path, text in error.problems:
            found.setdefault(_place(path, text, paths), []).append(text)
        return found
    return {}


def _place(path: str, text: str, paths: set[str]) -> str:
    """The field a problem belongs to: its own, that of the list it is in, or the first one that it speaks of."""
    parts = path.split(".")
    for n in range(len(parts), 1, -1):
        if ".".join(parts[:n]) in paths:
            return ".".join(parts[:n])
    spoken = [word for word in re.findall(r"[a-z_]+\.[a-z_]+", text) if word in paths]
    return spoken[0] if spoken else ""


def _field(path: str, told: Mapping[str, Any]) -> Field:
    branches = [branch for branch in told.get("anyOf", [told]) if branch.get("type") != "null"]
    branch = branches[0]
    kind: Kind = "text"
    if "enum" in branch:
        kind = "choice"
    elif branch.get("type") == "array":
        kind = "wholes"
    else:
        kinds: dict[str, Kind] = {"integer": "whole", "number": "number", "boolean": "truth", "object": "mapping"}
        kind = kinds.get(branch.get("type", ""), "text")
    optional = "anyOf" in told and len(branches) < len(told["anyOf"])
    choices = tuple(branch.get("enum", ()))
    if kind == "truth" and optional:
        kind, choices = "choice", ("true", "false")
    return Field(path, kind, told.get("description", ""), told.get("default"), choices, optional, _limits(branch))


def _limits(branch: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    told = [f"{sign} {branch[key]:g}" for key, sign in signs.items() if key in branch and abs(branch[key]) < 1e12]
    return ", ".join(told)


def _number(text: str) -> Any:
    """A number as people type it: 1e-3, 100_000; anything else stays what it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
