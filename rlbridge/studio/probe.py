"""Looks at an environment before anything starts, in a process of its own: it may hang, crash or be slow to import."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from rlbridge.config import algorithms_for
from rlbridge.studio.workshop import ask

SECONDS = 40.0


class ProbeFailed(ValueError):
    """The environment does not answer, or is none; says why."""


@dataclass(frozen=True)
class Facts:
    """What an environment is.

    Attributes:
        observation_space, action_space: as Gymnasium writes them.
        algorithms: those that can drive its actions.
        name: what its server calls it; empty for a local one, or where there are several.
        max_envs: how many may step in one session, where there is a limit.
        shared: there is one of it for all sessions; for who asks to find out.
        told: all that was found, by name, for people to read.
    """

    observation_space: str
    action_space: str
    algorithms: list[str]
    name: str = ""
    max_envs: int | None = None
    shared: bool = False
    told: dict[str, Any] = field(default_factory=dict)


def probe(target: str) -> Facts:
    """``rlbridge inspect``, at most :data:`SECONDS` long.

    Raises:
        ProbeFailed: no answer, or a refusal.
    """
    code, out, err = ask(["inspect", target, "--json"], SECONDS)
    if code:
        lines = [line for line in err.strip().splitlines() if line.strip()]
        raise ProbeFailed(lines[-1].removeprefix("rlbridge: ") if lines else f"exit code {code}")
    told: dict[str, Any] = json.loads(out)
    actions = str(told["action_space"])
    offers = told.get("environments", [])
    name = str(offers[0]["name"]) if len(offers) == 1 else ""
    most = told["limits"]["max_envs"] if "limits" in told else None
    return Facts(
        str(told["observation_space"]), actions, algorithms_for(actions.partition("(")[0]), name, most, told=told
    )


def lines_of(told: dict[str, Any]) -> list[tuple[str, str]]:
    """What was found as (name, value) to read, one fact each."""
    found = []
    for name, value in told.items():
        if isinstance(value, dict):
            found += [(f"{name}.{key}", str(entry)) for key, entry in value.items()]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found += [(name, ", ".join(f"{k}: {_plain(v)}" for k, v in entry.items())) for entry in value]
        else:
            found.append((name, _plain(value)))
    return found


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
