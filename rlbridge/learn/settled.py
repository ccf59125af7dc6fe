"""What cannot change any more once a run has begun, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlbridge.config import ConfigError

_WEIGHTS = "the weights have their shape by it"
_MEMORY = "the replay memory was filled with it"
_COUNTED = "updates are counted by it from the first step on"
_PLACE = "the run stays in the folder that it is in"
_SETTLED = {
    "env.num_envs": "every environment has its own part of the state",
    "env.placement": "the state is of that kind",
    "algorithm.name": "its state is of no use to another one",
    "algorithm.dueling": _WEIGHTS,
    "algorithm.normalise_observations": _WEIGHTS,
    "algorithm.normalise_rewards": "the running scale is part of the state",
    "algorithm.rollout_steps": "a rollout may be half full",
    "algorithm.replay": _MEMORY,
    "algorithm.replay_size": _MEMORY,
    "algorithm.priority_exponent": _MEMORY,
    "algorithm.learning_starts": _COUNTED,
    "algorithm.updates_per_step": _COUNTED,
    "algorithm.temperature": "it is part of the state",
    "algorithm.initial_temperature": "the temperature is part of the state",
    "algorithm.target_entropy": "it is part of the state",
    "network.hidden": _WEIGHTS,
    "network.activation": "the weights were learned with it",
    "network.shared": _WEIGHTS,
    "run.seed": "all chance goes on from it",
    "run.name": _PLACE,
    "run.dir": _PLACE,
    "run.overwrite": _PLACE,
}


def refuse_other_algorithm(overrides: Sequence[str], name: str) -> None:
    """The settings of another algorithm would be refused one by one; say what is really wrong.

    Raises:
        ConfigError: an override names another algorithm than ``name``.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        if key.strip() == "algorithm.name" and value.strip().strip("'\"") != name:
            raise ConfigError(_refusal("algorithm.name", name, value.strip()))


def refuse_changes(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with settings that cannot change.

    Args:
        begun: the sections of the run so far, as nested mappings.
        wanted: those it is to go on with.

    Raises:
        ConfigError: names each such key, both values, and why it cannot change.
    """
    problems = []
    for path in _SETTLED:
        section, key = path.split(".")
        now = wanted.get(section, {}).get(key)
        was = begun.get(section, {}).get(key, now)
        if was != now:
            problems.append(_refusal(path, was, now))
    if problems:
        raise ConfigError("\n  ".join(problems))


def _refusal(path: str, was: Any, now: Any) -> str:
    return f"{path} cannot change in the middle of a run ({_SETTLED[path]}): it is {was!r}, not {now!r}. Train anew."
