"""What is wanted: reward and termination, as functions or formulas of one transition."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbridge.entry_point import resolve_factory
from rlbridge.plants.expression import Expression
from rlbridge.plants.plant import Value
from rlbridge.plants.settings import Task, TaskFunction

_FUNCTION = re.compile(r"[\w./\\-]+:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Transition:
    """One period of a plant. Each value is a number, or ``[N]`` for a batch.

    Attributes:
        before: what was seen when the action was chosen: observations, monitors, and set points of actions.
        after: what is seen at the end of the period.
        requested: the action as it was asked for, by name.
        applied: the action that was in force.
        time: of the last reading, in seconds on the plant's clock.
        dt: the period's length in seconds.
    """

    before: Mapping[str, Value]
    after: Mapping[str, Value]
    requested: Mapping[str, Value]
    applied: Mapping[str, Value]
    time: float
    dt: float


def rule(source: str | TaskFunction, names: Collection[str], folder: Path | None) -> Callable[[Transition], Any]:
    """A function of a transition, from what a :class:`~rlbridge.plants.settings.Task` says.

    Raises:
        ExpressionError, UnknownFactory: it is none.
    """
    if not isinstance(source, str):
        return source
    if _FUNCTION.fullmatch(source.strip()):
        return resolve_factory(source.strip(), folder)
    formula = Expression(source, names)
    return lambda transition: formula({**transition.after, **transition.applied})


class TaskRules:
    """A task's functions, ready to call.

    Args:
        task: the section.
        names: of all signals that formulas may use.
        folder: where ``file.py:name`` is looked for.
    """

    def __init__(self, task: Task, names: Collection[str], folder: Path | None) -> None:
        self.horizon = task.horizon
        self.observe_applied = task.observe_applied
        self.reward = rule(task.reward, names, folder)
        self.terminated = rule(task.terminated, names, folder) if task.terminated is not None else None
