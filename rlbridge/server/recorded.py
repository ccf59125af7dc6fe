"""An environment whose every reset and step is written to a recording; it behaves as the one inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.recordings.write import EpisodeWriter, RecordingWriter
from rlbridge.server.environment import Environment, Outcome, ResetCommand
from rlbridge.wire.errors import RemoteEnvError


class RecordedEnvironment:
    """Records the environment of one session, row by row.

    Args:
        inner: the environment.
        folder: where recordings are; this one makes a folder in it at the first reset.
        name: the environment's.
    """

    def __init__(self, inner: Environment, folder: Path, name: str) -> None:
        self._inner = inner
        self.num_envs, self.metadata = inner.num_envs, inner.metadata
        self.observations, self.actions = inner.observations, inner.actions
        self._writer = RecordingWriter(folder, name, inner.observations, inner.actions, inner.num_envs)
        self._rows = max(inner.num_envs, 1)
        self._open: list[EpisodeWriter | None] = [None] * self._rows

    @property
    def autoreset_mode(self) -> AutoresetMode | None:
        return self._inner.autoreset_mode

    def reset(self, command: ResetCommand) -> Outcome:
        try:
            outcome = self._inner.reset(command)
        except RemoteEnvError:
            self._end_all("failed")
            raise
        for row in range(self._rows):
            if command.mask is None or command.mask[row]:
                self._end(row, "cut")
                self._begin(row, self._seed(command, row), command.options, outcome)
        return outcome

    def step(self, action: list[bytes]) -> Outcome:
        try:
            outcome = self._inner.step(action)
        except RemoteEnvError:  # the others left everything as it was
            self._end_all("failed")
            raise
        rewards = np.frombuffer(outcome.reward, "<f8")
        flags = {name: np.frombuffer(getattr(outcome, name), np.bool_) for name in ("terminated", "truncated")}
        begun = np.frombuffer(outcome.was_reset, np.bool_) if outcome.was_reset else np.zeros(self._rows, np.bool_)
        valid = np.frombuffer(outcome.valid, np.bool_) if outcome.valid else np.ones(self._rows, np.bool_)
        for row in range(self._rows):
            if begun[row]:
                self._begin(row, None, None, outcome)
                continue
            episode = self._open[row]
            if episode is None:
                continue
            final = row in outcome.final_rows
            info = row_info(outcome.info, row) if self.num_envs else outcome.info
            seen = self._final(outcome, row) if final else self._row(self.observations, outcome.observation, row)
            own = info.get("final_info", {}) if final else info
            episode.step(self._row(self.actions, action, row), seen, float(rewards[row]), own)
            if not valid[row]:
                self._end(row, "failed")
            elif flags["terminated"][row] or flags["truncated"][row]:
                self._end(row, "terminated" if flags["terminated"][row] else "truncated")
            if final:
                self._begin(row, None, None, outcome)
        return outcome

    def render(self) -> Any:
        return self._inner.render()

    def close(self) -> None:
        try:
            self._end_all("cut")
        finally:
            self._inner.close()

    def _begin(self, row: int, seed: int | None, options: dict[str, Any] | None, outcome: Outcome) -> None:
        info = row_info(outcome.info, row) if self.num_envs else outcome.info
        first = self._row(self.observations, outcome.observation, row)
        info = {key: value for key, value in info.items() if key != "final_info"}
        self._open[row] = self._writer.episode(row, seed, options, first, info)

    def _end(self, row: int, how: Any) -> None:
        episode, self._open[row] = self._open[row], None
        if episode is not None:
            episode.end(how)

    def _end_all(self, how: Any) -> None:
        for row in range(self._rows):
            self._end(row, how)

    def _seed(self, command: ResetCommand, row: int) -> int | None:
        if command.row_seeds is not None:
            return command.row_seeds[row]
        return None if command.seed is None else command.seed + row

    def _row(self, codec: Any, blocks: list[bytes], row: int) -> list[bytes]:
        return list(blocks) if self.num_envs == 0 else codec.row(blocks, row, self.num_envs)

    def _final(self, outcome: Outcome, row: int) -> list[bytes]:
        place = outcome.final_rows.index(row)
        return self.observations.row(outcome.final_observation, place, len(outcome.final_rows))


def row_info(columns: dict[str, Any], row: int) -> dict[str, Any]:
    """One row of a batch's infos: the inverse of ``infos.add_row``."""
    own = {}
    for key, column in columns.items():
        mask = columns.get(f"_{key}")
        if mask is None or not mask[row]:
            continue
        own[key] = row_info(column, row) if isinstance(column, dict) else column[row]
    return own
