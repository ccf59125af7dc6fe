"""A recording as an environment: it gives what was recorded, for the actions that were recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium

from rlbridge.recordings.read import Episode, Recording


class OtherAction(ValueError):
    """The action is not the recorded one, so nobody knows what would have come."""


class ReplayEnv(gymnasium.Env[Any, Any]):
    """Plays a recording's episodes.

    ``reset(seed=s)`` plays the first episode that was recorded with that seed; without a seed, or where there is none,
    the next one of the same row, and after the last the first again. ``options={"episode": k}`` plays episode k. So a
    session that repeats the recorded resets and actions gets the recorded numbers, to the bit; infos come as JSON has
    them.

    Args:
        folder: of the recording.
        any_action: play on whatever the action is, with the recorded one in ``info["recorded_action"]``; an episode
            that did not end by itself is then truncated after its last step, ``info["recording_ends"]`` says how.

    Raises:
        BadRecording: the folder holds none.
    """

    def __init__(self, folder: str | Path, any_action: bool = False) -> None:
        self._recording = Recording(folder)
        self._any_action = any_action
        self.observation_space = self._recording.observations.space
        self.action_space = self._recording.actions.space
        self._index = -1
        self._episode: Episode | None = None
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            IndexError: there is no such episode. BadRecording: its files cannot be read.
        """
        super().reset(seed=seed)
        self._index = self._next(seed, (options or {}).get("episode"))
        self._episode = self._recording.load(self._index)
        self._step = 0
        return self._observation(), dict(self._episode.reset_info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The next recorded step.

        Raises:
            OtherAction: the action is another one than was recorded.
        """
        episode = self._episode
        assert episode is not None, "reset() comes first"
        if self._step >= len(episode.actions):
            raise OtherAction(f"the recording of episode {episode.number} has no step {self._step}: reset()")
        recorded = episode.actions[self._step]
        info = dict(episode.infos[self._step])
        codec = self._recording.actions
        if self._any_action:
            info["recorded_action"] = codec.unpack(recorded, copy=True)
        elif codec.pack(action) != recorded:
            raise OtherAction(
                f"step {self._step} of the recorded episode {episode.number} was {codec.unpack(recorded)!r}, not "
                f"{action!r}: what would have come of that was not recorded. Serve it with any_action to play on."
            )
        reward = float(episode.rewards[self._step])
        self._step += 1
        last = self._step == len(episode.actions)
        terminated, truncated = (last and episode.end == end for end in ("terminated", "truncated"))
        if self._any_action and last and not (terminated or truncated):
            truncated, info["recording_ends"] = True, episode.end
        return self._observation(), reward, terminated, truncated, info

    def _observation(self) -> Any:
        assert self._episode is not None
        return self._recording.observations.unpack(self._episode.observations[self._step], copy=True)

    def _next(self, seed: int | None, number: Any) -> int:
        episodes = [lines[0] for lines in self._recording.episodes]
        if number is not None:
            found = [i for i, line in enumerate(episodes) if line["episode"] == number]
            if not found:
                raise IndexError(f"there is no episode {number!r}; the recording has {len(episodes)}, counted from 0")
            return found[0]
        if seed is not None:
            seeded = [i for i, line in enumerate(episodes) if line["seed"] == seed]
            if seeded:
                return seeded[0]
        row = episodes[max(self._index, 0)]["row"]
        of_row = [i for i, line in enumerate(episodes) if line["row"] == row]
        return next((i for i in of_row if i > self._index), of_row[0])
