"""Writing a recording, so that whatever ends the process leaves it readable."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbridge.recordings.arrays import space_to_text, to_arrays, to_json
from rlbridge.version import __version__
from rlbridge.wire import BlockCodec

FORMAT = 1
PART_STEPS = 1_000
"""A longer episode is written in parts of so many steps: that much is lost if the process is killed."""

End = Literal["terminated", "truncated", "cut", "failed", "continues"]


class RecordingWriter:
    """A folder with one session's episodes, made with the first of them.

    Args:
        home: where recordings are; this one's folder gets the environment's name and the next free number.
        environment: its name.
        observations, actions: how its samples are packed.
        num_envs: rows of the session, 0 for a single environment.
    """

    def __init__(
        self, home: Path, environment: str, observations: BlockCodec, actions: BlockCodec, num_envs: int
    ) -> None:
        self._home, self._name = home, re.sub(r"[^\w.-]+", "_", environment)
        self.observations, self.actions = observations, actions
        self._header = {
            "format": FORMAT,
            "environment": environment,
            "rlbridge": __version__,
            "num_envs": num_envs,
            "observation_space": str(observations.space),
            "action_space": str(actions.space),
        }
        self._episodes = 0

    def episode(
        self, row: int, seed: int | None, options: dict[str, Any] | None, first: list[bytes], info: dict[str, Any]
    ) -> EpisodeWriter:
        """Begin an episode with its first observation, packed.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._episodes == 0:
            self.folder = self._make_folder()
        self._episodes += 1
        line = {"episode": self._episodes - 1, "row": row, "seed": seed, "options": to_json(options)}
        return EpisodeWriter(self, {**line, "reset_info": to_json(info)}, first)

    def _make_folder(self) -> Path:
        self._home.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = self._home / f"{self._name}-{number}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()  # two servers may share the home: who makes it has it
                break
        header = {
            **self._header,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "spaces": [space_to_text(self.observations.space), space_to_text(self.actions.space)],
        }
        (folder / "recording.json").write_text(json.dumps(header, indent=2) + "\n")
        return folder

    def write(self, line: dict[str, Any], arrays: dict[str, Any]) -> None:
        """One part: first its arrays, whole, then the line that names them."""
        name = f"episode-{line['episode']:06d}-{line['part']:03d}.npz"
        half = self.folder / f"{name}.half"
        with half.open("wb") as file:
            np.savez(file, **arrays)
        half.replace(self.folder / name)
        with (self.folder / "episodes.jsonl").open("a") as lines:
            lines.write(json.dumps({**line, "file": name}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())


class EpisodeWriter:
    """One episode under way; made by ``RecordingWriter.episode``."""

    def __init__(self, recording: RecordingWriter, line: dict[str, Any], first: list[bytes]) -> None:
        self._recording, self._line = recording, line
        self._part = 0
        self._begin(first, time.time())

    def _begin(self, first: list[bytes], at: float) -> None:
        self._observations, self._actions = [first], list[list[bytes]]()
        self._rewards, self._infos, self._times = list[float](), list[Any](), [at]

    def step(self, action: list[bytes], observation: list[bytes], reward: float, info: dict[str, Any]) -> None:
        """Add a step; every 1,000 are written."""
        self._actions.append(action)
        self._observations.append(observation)
        self._rewards.append(reward)
        self._infos.append(to_json(info))
        self._times.append(time.time())
        if len(self._rewards) == PART_STEPS:
            self.end("continues")
            self._part += 1
            self._begin(observation, self._times[-1])

    def end(self, how: End) -> None:
        """Write what is not written yet."""
        steps = len(self._rewards)
        line = {
            **self._line,
            "part": self._part,
            "steps": steps,
            "return": sum(self._rewards),
            "end": how,
            "infos": self._infos,
        }
        arrays = {
            **to_arrays(self._recording.observations, "observation", self._observations),
            **(to_arrays(self._recording.actions, "action", self._actions) if steps else {}),
            "reward": np.array(self._rewards, np.float64),
            "time": np.array(self._times, np.float64),
        }
        self._recording.write(line, arrays)
