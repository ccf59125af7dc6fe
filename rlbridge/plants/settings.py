"""How a plant is guarded, clocked and rewarded: the sections of serve.yaml, and arguments of PlantEnv."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Mode = Literal["observe", "shadow", "advise", "active"]
MODES: tuple[Mode, ...] = ("observe", "shadow", "advise", "active")

_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(ms|s|min|h|d)\s*")
_RATE = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*/\s*(ms|s|min|h|d)\s*")


def _seconds(value: Any) -> Any:
    """``1 s``, ``100 ms``, ``5 min``, ``2 h`` or a number of seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is no duration: write a number of seconds, or 100 ms, 1 s, 5 min, 2 h, 1 d")
    return float(match[1]) * _SECONDS[match[2]]


def _per_second(value: Any) -> Any:
    """``2/min`` or a number a second."""
    if not isinstance(value, str):
        return value
    match = _RATE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is no rate: write a number a second, or 2/min, 0.5/s, 10/h")
    return float(match[1]) / _SECONDS[match[2]]


_LONGEST = 1e9  # seconds, thirty years; what waits cannot wait for much longer
Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
Period = Annotated[float, BeforeValidator(_seconds), Field(ge=1e-6, le=_LONGEST, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_per_second), Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Settings(BaseModel):
    """A section; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Interlock(Settings):
    """While ``when`` has begun and ``until`` has not, actions have the values of ``then``: at once, whatever the rate.

    The formulas (see :class:`~rlbridge.plants.expression.Expression`) are about signals by name; an action's name
    means its set point.
    """

    when: str
    then: dict[str, Number] | Literal["safe"] = "safe"
    until: str | None = Field(None, description="Default: when `when` no longer holds.")
    latch: bool = Field(False, description="Stays until an operator clears it; without one, until the next reset.")

    @model_validator(mode="after")
    def _one_end(self) -> Interlock:
        if self.latch and self.until is not None:
            raise ValueError("an interlock that latches is ended by an operator: leave out `until`")
        return self


class DeadMan(Settings):
    """What happens when nobody acts any more, on the wall clock."""

    hold: Duration = Field(5.0, description="Keep the last applied action for so long,")
    ramp: Duration = Field(30.0, description="then go to the safe action within the rates, at most so long; then trip.")


class Gate(Settings):
    """The gate between whoever acts and the plant. docs/plants.md is its guide."""

    mode: Mode = "active"
    safe_action: dict[str, Number] = Field(default_factory=dict, description="Overrides the plant's own.")
    interlocks: tuple[Interlock, ...] = ()
    max_age: Period | None = Field(None, description="An action is refused if the observation it answers is older.")
    frozen_after: Period | None = Field(
        None, description="On the wall clock, all readings are bad once their own time has stood still for so long."
    )
    dead_man: DeadMan = DeadMan()  # type: ignore[call-arg]
    penalty: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Off the reward: times the mean correction of the actions, as a part of their ranges.",
    )
    readback_tolerance: float = Field(
        0.01, ge=0, le=1, description="A set point that differs by more of its range was changed by somebody else."
    )
    audit: str | None = Field(
        None,
        description="The audit file; on the wall clock, or with an operator, audit.jsonl unless given. Simulated "
        "plants that are several number theirs: audit-2.jsonl, …",
    )
    operator: str | None = Field(
        None, description="The operator's file, made by `rlbridge plant init`: mode changes, e-stop, confirmations."
    )


class Clock(Settings):
    """Time. A simulated plant advances by ``period`` in each step; others are read so often on the wall clock."""

    period: Period = 1.0
    real_time: bool = Field(
        False, description="Let a simulated plant run on the wall clock, as a live one would: a rehearsal."
    )
    on_miss: Literal["hold", "safe"] = Field("hold", description="No action in a period: hold, or go to the safe one.")
    patience: Duration = Field(10.0, description="How much longer than the period a step may wait for the plant.")
    start_within: Duration = Field(600.0, description="How long the plant's start may take.")


TaskFunction = Callable[..., Any]


class Task(Settings):
    """What is wanted of whoever acts.

    ``reward`` and ``terminated`` are functions of a :class:`~rlbridge.plants.task.Transition`, ``file.py:name`` of
    one, or formulas over the values after the step (an action's name means what was applied). In a batch they take
    and give ``[N]``.
    """

    reward: str | TaskFunction = "0"
    terminated: str | TaskFunction | None = None
    horizon: int | None = Field(None, ge=1, description="An episode is truncated after so many steps.")
    observe_applied: bool = Field(
        False, description="Append the applied action to the observation: with rates, it is part of the state."
    )
