"""What a run is doing, as its folder tells it to whoever looks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlbridge.config import RunConfig
from rlbridge.runs.folder import RunFolder

Status = Literal["starting", "running", "paused", "stopping", "finished", "stopped", "failed", "killed"]
_ITS_OWN_END = ("total_steps", "target_return")
_ABSURD = 1e15  # no run counts that far


@dataclass(frozen=True)
class Standing:
    """One run at one moment.

    Attributes:
        name: of the folder.
        status: starting, running, paused, stopping: a process holds the folder. finished: it reached its goal.
            stopped: it was asked to end, or its time was up; it can go on. failed: an error ended it. killed: its
            process died; it can go on.
        steps, total_steps, episodes: transitions done and to do, episodes ended.
        best: mean return of its best evaluation; None before the first.
        metrics: the latest of each, by name.
        target, algorithm: what is trained on, and by what.
        updated: when it last wrote its state, in seconds of the system's clock; 0 = never.
        why: what ended it, or the error.
    """

    name: str
    status: Status
    steps: int = 0
    total_steps: int = 0
    episodes: int = 0
    best: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    target: str = ""
    algorithm: str = ""
    updated: float = 0.0
    why: str = ""

    @property
    def alive(self) -> bool:
        """Whether a process is at it."""
        return self.status in ("starting", "running", "paused", "stopping")


def standing(path: Path, config: RunConfig | None) -> Standing:
    """Of the run in the folder ``path`` with that config, if it could be read.

    A state that is torn or missing counts as not yet written, and so does what is no number in it: whatever somebody
    wrote into one run's folder, the others can be looked at.
    """
    folder = RunFolder(path)
    held, state = folder.held, _read(folder.state)
    counts = {name: _number(state.get(name)) or 0.0 for name in ("steps", "total_steps", "episodes", "updated")}
    metrics = state.get("metrics")
    return Standing(
        name=path.name,
        status=_status(folder, held, state),
        steps=int(counts["steps"]),
        total_steps=int(counts["total_steps"]) or (config.algorithm.total_steps if config else 0),
        episodes=int(counts["episodes"]),
        best=_number(state.get("best")),
        metrics=_numbers(metrics) if isinstance(metrics, dict) else {},
        target=config.env.target if config else "",
        algorithm=config.algorithm.name if config else "",
        updated=counts["updated"],
        why=next((said for said in (state.get("error"), state.get("reason")) if said and isinstance(said, str)), ""),
    )


def _status(folder: RunFolder, held: bool, state: dict[str, Any]) -> Status:
    told = state.get("status")
    if held:
        if folder.stop.exists():
            return "stopping"
        if told == "paused":
            return "paused"
        return "running" if told == "running" else "starting"
    if told == "failed":
        return "failed"
    if told in ("finished", "stopped"):
        return "finished" if state.get("reason") in _ITS_OWN_END else "stopped"
    return "killed"


def _read(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _number(value: Any) -> float | None:
    """None for what is none, not finite, or absurd."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _ABSURD:
        return None
    return float(value)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: number for name, value in values.items() if (number := _number(value)) is not None}
