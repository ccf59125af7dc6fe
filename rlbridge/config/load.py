"""Run files and overrides in, a validated run out; and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rlbridge.config.algorithms import ALGORITHMS, PPOConfig
from rlbridge.config.run import RunConfig
from rlbridge.nearest import did_you_mean


class ConfigError(ValueError):
    """The run file or an override is not a run; the message lists every problem, one a line.

    Attributes:
        problems: (the setting it lies with, such as ``algorithm.gamma``, or "" if with several; what is wrong), each.
    """

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems) or [("", message)]


def load_config(
    source: str | Path | Mapping[str, Any] | RunConfig | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read, merge and validate one run.

    Args:
        source: a YAML file's path, a nested mapping, a RunConfig, or None for the defaults.
        overrides: ``section.key=value`` each, merged before validation; values are YAML, ``1e-3`` a number.

    Raises:
        ConfigError: with every problem found, each with its path, value and what is allowed.
    """
    if isinstance(source, RunConfig):
        tree: Any = source.model_dump()
    elif isinstance(source, (str, Path)):
        tree = _parse_yaml(_read(Path(source)), str(source))
    else:
        tree = source
    if tree is not None and not isinstance(tree, Mapping):
        raise ConfigError(
            f"{source}: a run is a mapping of sections ({', '.join(RunConfig.model_fields)}), not {_short(tree)}."
        )
    merged = _copy(tree or {})
    for override in overrides:
        _merge_override(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        origin = str(source) if isinstance(source, (str, Path)) else "the run's settings"
        found = [_explain(problem) for problem in error.errors(include_url=False)]
        raise ConfigError(
            "\n  ".join([f"{origin}: {len(found)} problem(s)", *(text for _, text in found)]), found
        ) from None


def parse_config(text: str, origin: str = "the text") -> RunConfig:
    """The run in a YAML text; ``origin`` names it in messages.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    tree = _parse_yaml(text, origin)
    if tree is not None and not isinstance(tree, Mapping):
        raise ConfigError(
            f"{origin}: a run is a mapping of sections ({', '.join(RunConfig.model_fields)}), not {_short(tree)}."
        )
    return load_config(tree)


def dump_config(config: RunConfig) -> str:
    """The resolved run as YAML; :func:`load_config` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a run file."""
    return RunConfig.model_json_schema()


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a number (1.1 reads ``1e-3`` as text), and no silent second value for a key."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key in (key.value for key, _ in node.value):
            if not isinstance(key, str):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {' '.join(str(error).split())}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the run file {str(path)!r}: {error}") from None


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _merge_override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"the override {override!r} is not of the form section.key=value.")
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"the override {override!r} goes through {key!r}, which is no section but {tree!r}.")
    value = _parse_yaml(text, f"the value of the override {override!r}")
    tree[keys[-1]] = _copy(value) if isinstance(value, Mapping) else value


def _explain(problem: Any) -> tuple[str, str]:
    """Where the problem lies, and the whole sentence."""
    location, sections = tuple(str(part) for part in problem["loc"]), _sections()
    if location[:1] == ("algorithm",) and location[1:2] and location[1] in ALGORITHMS:
        # pydantic puts the name of the class that was chosen between; nobody wrote it as a level.
        sections["algorithm"] = ALGORITHMS[location[1]]
        location = (location[0], *location[2:])
    path = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return path, f"unknown key {path!r} = {_short(problem['input'])}; {_nearest(location, sections)}"
    if problem["type"] == "union_tag_invalid":
        name = problem["input"].get("name")
        meant = did_you_mean(str(name).lower(), ALGORITHMS)
        said = f"{path}.name = {_short(name)}: should be one of {', '.join(ALGORITHMS)}{meant and f'; {meant}'}"
        return f"{path}.name", said
    message = problem["msg"].removeprefix("Value error, ")
    return path, (f"{path} = {_short(problem['input'])}: {message}" if path else message)


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def _nearest(location: tuple[str, ...], sections: dict[str, Any]) -> str:
    *parents, last = location
    here = RunConfig.model_fields if not parents else sections[parents[0]].model_fields
    others = [name for name, config in ALGORITHMS.items() if parents == ["algorithm"] and last in config.model_fields]
    if others:
        return f"it belongs to {', '.join(others)}."
    meant = did_you_mean(last, here, cutoff=0.5)
    if meant:
        return meant
    elsewhere = [f"{name}.{last}" for name, section in sections.items() if last in section.model_fields]
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    return f"known here: {', '.join(here)}."


def _sections() -> dict[str, Any]:
    """The class of each section; the algorithm's is PPO's unless another one was named."""
    return {name: field.annotation for name, field in RunConfig.model_fields.items()} | {"algorithm": PPOConfig}
