"""Where numbers go: ``metrics.jsonl``, TensorBoard, ``episodes.csv``; and the running mean of episodes."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.learn.collect import Episode
from rlbridge.runs.folder import RunFolder, cut_back

WINDOW = 100
"""Episodes that ``rollout/ep_rew_mean`` and ``rollout/ep_len_mean`` are means over, as elsewhere."""


class Metrics:
    """Writes one run's numbers; every row carries the step, in transitions, and the seconds since the start.

    Args:
        folder: where to.
        tensorboard: whether event files are written, too.
        resumed: what :meth:`state_dict` gave at step ``step``; what was written after that goes.
        step: of that state.
    """

    def __init__(
        self, folder: RunFolder, tensorboard: bool, resumed: dict[str, Any] | None = None, step: int = 0
    ) -> None:
        self.recent: deque[Episode] = deque(maxlen=WINDOW)
        self.episode_count = 0
        self._start = time.monotonic()
        if resumed is not None:
            self._load(resumed)
            cut_back(folder.metrics, resumed["metrics_size"], lambda line: json.loads(line)["step"] <= step)
            # An episode's step is when it ended, which may be in a rollout that was broken off.
            cut_back(folder.episodes, resumed["episodes_size"], lambda line: _is_episode_until(line, step))
        self._rows = folder.metrics.open("a", encoding="utf-8")
        self._episodes = folder.episodes.open("a", encoding="utf-8")
        if not self._episodes.tell():
            self._episodes.write("step,return,length\n")
        # TensorBoard then forgets events from that step on.
        self._board = _summary_writer(folder, None if resumed is None else step + 1) if tensorboard else None

    def add_episodes(self, episodes: Iterable[Episode]) -> None:
        for episode in episodes:
            self.recent.append(episode)
            self.episode_count += 1
            self._episodes.write(f"{episode.step},{episode.total!r},{episode.length}\n")

    def episode_means(self) -> dict[str, float]:
        """The means over the last episodes; empty before the first has ended."""
        if not self.recent:
            return {}
        return {
            "rollout/ep_rew_mean": float(np.mean([episode.total for episode in self.recent])),
            "rollout/ep_len_mean": float(np.mean([episode.length for episode in self.recent])),
        }

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row of metrics, names as ``group/name``."""
        row = {"step": step, "seconds": round(time.monotonic() - self._start, 3), **values}
        self._rows.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Let watchers see everything so far."""
        self._rows.flush()
        self._episodes.flush()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self._rows.close()
        self._episodes.close()
        if self._board is not None:
            self._board.close()

    def state_dict(self) -> dict[str, Any]:
        """What the next rows depend on, and how long the files are up to here."""
        self.flush()
        recent = np.array([tuple(episode) for episode in self.recent], dtype=np.float64).reshape(-1, 3)
        return {
            "recent": recent,
            "episode_count": self.episode_count,
            "seconds": time.monotonic() - self._start,
            "metrics_size": os.fstat(self._rows.fileno()).st_size,
            "episodes_size": os.fstat(self._episodes.fileno()).st_size,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self.recent.extend(Episode(int(s), float(r), int(n)) for s, r, n in state["recent"])
        self.episode_count = state["episode_count"]
        self._start = time.monotonic() - state["seconds"]


def read_episodes(folder: RunFolder) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps at which episodes ended, and their returns; both ``[episodes]``."""
    table = np.loadtxt(folder.episodes, delimiter=",", skiprows=1, ndmin=2) if _has_rows(folder) else np.empty((0, 3))
    return table[:, 0], table[:, 1]


def read_metric(folder: RunFolder, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps at which ``name`` was written, and its values; both ``[rows]``."""
    with folder.metrics.open(encoding="utf-8") as file:
        found = [(row["step"], row[name]) for row in map(json.loads, file) if name in row]
    table = np.array(found, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _has_rows(folder: RunFolder) -> bool:
    with folder.episodes.open(encoding="utf-8") as file:
        return sum(1 for _, _ in zip(file, range(2), strict=False)) == 2


def _is_episode_until(line: bytes, step: int) -> bool:
    ended, _, rest = line.partition(b",")
    return ended == b"step" or (int(ended) <= step and rest.count(b",") == 1)


def _summary_writer(folder: RunFolder, purge_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        folder.log("tensorboard is not installed: no event files (pip install tensorboard)")
        return None
    return SummaryWriter(str(folder.tensorboard), purge_step=purge_step)  # type: ignore[no-untyped-call,unused-ignore]
