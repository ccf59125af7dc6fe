"""A batch that is one object already: any ``gymnasium.vector.VectorEnv``, in the autoreset mode that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlbridge.gymnasium_versions import AutoresetMode, VectorEnv
from rlbridge.server.actions import ActionBounds, ActionReader
from rlbridge.server.environment import Outcome, ResetCommand
from rlbridge.server.failure import FAILURES, checked_info, close_quietly, environment_failure
from rlbridge.wire import BlockCodec
from rlbridge.wire.errors import NeedsReset, Unsupported, WireError

Batch = VectorEnv[Any, Any, Any]


class NativeBatch:
    """A vector environment behind packed observations and actions.

    After an exception it is made anew by the next reset: a batch cannot lose a single row.
    """

    def __init__(self, make: Callable[[], Batch], bounds: ActionBounds, show_tracebacks: bool) -> None:
        self._make = make
        self._show_tracebacks = show_tracebacks
        envs = make()
        self._envs: Batch | None = envs
        self._running = False
        self.num_envs = envs.num_envs
        self.metadata = dict(envs.metadata or {})
        self.autoreset_mode: AutoresetMode | None = AutoresetMode(
            self.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        )
        self.observations = BlockCodec(envs.single_observation_space)
        self.actions = BlockCodec(envs.single_action_space)
        self._reader = ActionReader(self.actions, bounds)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(self, command: ResetCommand) -> Outcome:
        options = dict(command.options) if command.options is not None else None
        if command.mask is not None:
            options = {**(options or {}), "reset_mask": self._checked_mask(command.mask)}
        seed: Any = command.seed
        if command.row_seeds is not None:
            # Most native batches take a single seed; a list of consecutive ones is what that means.
            seed = consecutive(command.row_seeds, self.num_envs)
        try:
            if self._envs is None:
                self._envs = self._make()
            observation, infos = self._envs.reset(seed=seed, options=options)
            packed = self.observations.pack_batch(observation, self.num_envs)
            infos = checked_info(infos)
        except FAILURES as error:
            raise self._failed("reset", error) from error
        self._ended[slice(None) if command.mask is None else np.array(command.mask, np.bool_)] = False
        self._running = True
        return Outcome(packed, infos)

    def step(self, action: list[bytes]) -> Outcome:
        if not self._running or self._envs is None:
            raise NeedsReset("the environments have not been reset since they were opened or failed: call reset()")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            rows = np.flatnonzero(self._ended).tolist()
            raise NeedsReset(f"the episodes of rows {rows} are over and autoreset is disabled: reset them", rows=rows)
        n = self.num_envs
        actions = self._reader.read_batch(action, n)
        try:
            observation, reward, terminated, truncated, infos = self._envs.step(actions)
            was_reset = self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else np.zeros(n, np.bool_)
            self._ended = np.logical_or(terminated, truncated)
            infos = dict(checked_info(infos))
            final_rows, final_observation = self._take_final(infos)
            return Outcome(
                self.observations.pack_batch(observation, n),
                infos,
                np.asarray(reward, np.float64).tobytes(),
                np.asarray(terminated, np.bool_).tobytes(),
                np.asarray(truncated, np.bool_).tobytes(),
                was_reset=was_reset.tobytes() if was_reset.any() else b"",
                final_rows=final_rows,
                final_observation=final_observation,
            )
        except FAILURES as error:
            raise self._failed("step", error) from error

    def _checked_mask(self, mask: list[bool]) -> Any:
        if self.autoreset_mode is not AutoresetMode.DISABLED:
            raise Unsupported("this native batch resets its rows by itself: reset_mask is for autoreset DISABLED")
        if len(mask) != self.num_envs or not any(mask):
            raise WireError(f"reset_mask needs {self.num_envs} entries and at least one true one, got {mask}")
        return np.array(mask, np.bool_)

    def _take_final(self, infos: dict[str, Any]) -> tuple[list[int], list[bytes]]:
        """Final observations travel apart from the other infos, as blocks of the rows that have one."""
        final, mask = infos.pop("final_obs", None), infos.pop("_final_obs", None)
        if final is None or mask is None or not np.any(mask):
            return [], []
        rows = np.flatnonzero(mask).tolist()
        if isinstance(final, np.ndarray) and final.dtype == object:
            return rows, self.observations.stack([final[row] for row in rows])
        packed = self.observations.pack_batch(final, self.num_envs)
        return rows, self.observations.join([self.observations.row(packed, row, self.num_envs) for row in rows])

    def render(self) -> Any:
        if self._envs is None:
            raise NeedsReset("the environments failed: call reset() first")
        try:
            return self._envs.render()
        except FAILURES as error:
            raise environment_failure("render", error, self._show_tracebacks) from error

    def close(self) -> None:
        if self._envs is not None:
            close_quietly(self._envs)
            self._envs = None

    def _failed(self, call: str, error: BaseException) -> Exception:
        self.close()
        self._running = False
        return environment_failure(call, error, self._show_tracebacks)


def consecutive(seeds: list[int | None], n: int) -> int | None:
    """The one seed that stands for these, one a row.

    Raises:
        WireError: not one a row. Unsupported: no single seed means the same.
    """
    if len(seeds) != n:
        raise WireError(f"{len(seeds)} row seeds for {n} environments")
    first = seeds[0]
    if first is None and not any(seed is not None for seed in seeds):
        return None
    if first is None or seeds != [first + i for i in range(n)]:
        raise Unsupported(f"this native batch takes one seed (row i gets seed + i), not {seeds[:8]}")
    return first
