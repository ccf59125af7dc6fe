"""Reading a recording."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.recordings.arrays import from_arrays, space_from_text
from rlbridge.recordings.write import FORMAT
from rlbridge.wire import BlockCodec
from rlbridge.wire.errors import WireError


class BadRecording(ValueError):
    """The folder is no recording, or not all of one; the message says what is wrong with which file."""


@dataclass(frozen=True)
class Episode:
    """One episode of T steps.

    Attributes:
        number, row, seed, options: as recorded; ``seed`` None = not given.
        end: ``terminated``, ``truncated``, ``cut`` (a reset or the end of the session came first), ``failed`` (the
            environment raised) or ``continues`` (the server was killed meanwhile).
        observations: T + 1 packed samples; ``actions``: T.
        rewards: [T] float64.
        times: [T + 1] seconds since the epoch, when the server had them.
        reset_info, infos: as JSON has them.
    """

    number: int
    row: int
    seed: int | None
    options: dict[str, Any] | None
    end: str
    observations: list[list[bytes]]
    actions: list[list[bytes]]
    rewards: NDArray[np.float64]
    times: NDArray[np.float64]
    reset_info: dict[str, Any]
    infos: list[dict[str, Any]]


class Recording:
    """A recording that was written by ``RecordingWriter``.

    Attributes:
        environment: the name of what was recorded.
        num_envs: rows of the session, 0 for a single environment.
        observations, actions: codecs, which hold the spaces.
        episodes: the lines of each episode, in the order in which they began.

    Raises:
        BadRecording: there is none in the folder, or of a format that this version does not read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            header = json.loads((self.folder / "recording.json").read_text())
            if header["format"] != FORMAT:
                raise BadRecording(f"{folder}: format {header['format']}; this version reads {FORMAT}")
            self.environment, self.num_envs = str(header["environment"]), int(header["num_envs"])
            self.observations, self.actions = (BlockCodec(space_from_text(text)) for text in header["spaces"])
            lines = [json.loads(line) for line in (self.folder / "episodes.jsonl").read_text().splitlines()]
            parts: dict[int, list[dict[str, Any]]] = {}
            for line in lines:
                parts.setdefault(int(line["episode"]), []).append(line)
        except BadRecording:
            raise
        except (OSError, ValueError, KeyError, TypeError, WireError) as error:
            raise BadRecording(f"{str(folder)!r} holds no readable recording: {error!r}") from error
        self.episodes = [parts[number] for number in sorted(parts)]
        if not self.episodes:
            raise BadRecording(f"{str(folder)!r}: the recording has no episode")

    def load(self, index: int) -> Episode:
        """The episode at this place of ``episodes``.

        Raises:
            BadRecording: a file is missing or damaged; names it.
        """
        lines = self.episodes[index]
        observations: list[list[bytes]] = []
        actions: list[list[bytes]] = []
        rewards, times = [], []
        infos: list[dict[str, Any]] = []
        for line in lines:
            try:
                steps = int(line["steps"])
                with np.load(self.folder / line["file"], allow_pickle=False) as arrays:
                    seen = from_arrays(self.observations, "observation", arrays, steps + 1)
                    actions += from_arrays(self.actions, "action", arrays, steps) if steps else []
                    rewards.append(arrays["reward"])
                    times.append(arrays["time"][1 if observations else 0 :])
                observations += seen[1:] if observations else seen  # a part begins with the last of the one before
                infos += line["infos"]
            except (OSError, ValueError, KeyError, WireError, zipfile.BadZipFile) as error:
                raise BadRecording(f"{self.folder / str(line.get('file'))}: {error!r}") from error
        first = lines[0]
        return Episode(
            first["episode"],
            first["row"],
            first["seed"],
            first["options"],
            lines[-1]["end"],
            observations,
            actions,
            np.concatenate(rewards),
            np.concatenate(times),
            first["reset_info"],
            infos,
        )
