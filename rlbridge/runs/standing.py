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

    A state that is torn or missing counts as not yet written.
    """
    folder = RunFolder(path)
    held, state = folder.held, _read(folder.state)
    counts = {name: _number(state.get(name)) for name in ("steps", "total_steps", "episodes", "updated")}
    metrics = state.get("metrics")
    return Standing(
        name=path.name,
        status=_status(folder, held, state),
        steps=int(counts["steps"]),
        total_steps=int(counts["total_steps"]) or (config.algorithm.total_steps if config else 0),
        episodes=int(counts["episodes"]),
        best=None if state.get("best") is None else _number(state["best"]),
        metrics={str(k): _number(v) for k, v in metrics.items()} if isinstance(metrics, dict) else {},
        target=config.env.target if config else "",
        algorithm=config.algorithm.name if config else "",
        updated=counts["updated"],
        why=str(state.get("error") or state.get("reason") or ""),
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
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
