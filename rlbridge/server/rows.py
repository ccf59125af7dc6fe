"""A batch of environments stepped one after the other, with Gymnasium's three autoreset modes.

The numbers are those of ``gymnasium.vector.SyncVectorEnv``, to the bit, with two things it does not have: a
sub-environment that raises is rebuilt and its row masked, and final observations are packed before the reset, so an
environment that reuses its arrays cannot spoil them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server.actions import ActionBounds, ActionReader
from rlbridge.server.environment import Outcome, ResetCommand
from rlbridge.server.failure import (
    FAILURES,
    RebuildBudget,
    checked_info,
    checked_reward,
    close_quietly,
    environment_failure,
)
from rlbridge.server.infos import add_row
from rlbridge.wire import BlockCodec
from rlbridge.wire.errors import NeedsReset, RemoteEnvError, WireError

Env = gymnasium.Env[Any, Any]


class EnvironmentRows:
    """``num_envs`` environments from one factory.

    Args:
        make: makes one environment.
        num_envs: N >= 1.
        autoreset_mode: one of Gymnasium's three.
        bounds: see ``ActionReader``.
        show_tracebacks: whether answers carry the environment's traceback.
    """

    def __init__(
        self,
        make: Callable[[], Env],
        num_envs: int,
        autoreset_mode: AutoresetMode,
        bounds: ActionBounds,
        show_tracebacks: bool,
    ) -> None:
        self._make = make
        self._show_tracebacks = show_tracebacks
        self._budget = RebuildBudget(limit=10 + num_envs)
        self.num_envs = num_envs
        self.autoreset_mode: AutoresetMode | None = autoreset_mode
        self._envs: list[Env] = []
        try:
            for _ in range(num_envs):
                self._envs.append(make())
        except FAILURES:
            self.close()
            raise
        first = self._envs[0]
        self.metadata = dict(first.metadata or {})
        self.observations = BlockCodec(first.observation_space)
        self.actions = BlockCodec(first.action_space)
        self._reader = ActionReader(self.actions, bounds)
        self._ended = [False] * num_envs  # rows whose episode is over and that are not reset yet
        self._last: list[bytes] = []  # the last observation, packed: what a failed or unreset row repeats
        self._seeds: list[int | None] = [None] * num_envs
        self._rebuilds = [0] * num_envs
        self._rebuilt = [False] * num_envs  # rows whose next reset is the first of a rebuilt environment
        self._running = False

    # ---------------------------------------------------------------------------------------------------- reset

    def reset(self, command: ResetCommand) -> Outcome:
        seeds = self._row_seeds(command)
        rows = self._rows_to_reset(command.mask)
        infos: dict[str, Any] = {}
        packed: dict[int, list[bytes]] = {}
        for row in rows:
            self._seeds[row] = seeds[row]
            observation, info = self._reset_row(row, seeds[row], command.options)
            packed[row] = self._pack_row(observation)
            add_row(infos, info, row, self.num_envs)
            self._ended[row] = False
        blocks = [packed.get(row) or self._last_row(row) for row in range(self.num_envs)]
        self._last = self.observations.join(blocks)
        self._running = True
        return Outcome(self._last, infos)

    def _row_seeds(self, command: ResetCommand) -> list[int | None]:
        if command.row_seeds is not None:
            if len(command.row_seeds) != self.num_envs:
                raise WireError(f"{len(command.row_seeds)} row seeds for {self.num_envs} environments")
            return command.row_seeds
        return [None if command.seed is None else command.seed + i for i in range(self.num_envs)]

    def _rows_to_reset(self, mask: list[bool] | None) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        if len(mask) != self.num_envs or not any(mask):
            raise WireError(f"reset_mask needs {self.num_envs} entries and at least one true one, got {mask}")
        if not self._running:
            raise NeedsReset("reset_mask before the first reset of all rows: call reset() first")
        return [row for row, wanted in enumerate(mask) if wanted]

    def _reset_row(self, row: int, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        if seed is None and self._rebuilt[row] and self._seeds[row] is not None:
            # The first life was seeded, so the next one is too, by a rule; entropy would make the run unrepeatable.
            seed = int(np.random.SeedSequence([self._seeds[row] or 0, self._rebuilds[row]]).generate_state(1)[0])
        self._rebuilt[row] = False
        try:
            return self._reset_env(row, seed, options)
        except FAILURES as error:
            self._rebuild(row, "reset", error)
        try:
            return self._reset_env(row, seed, options)
        except FAILURES as error:
            raise self._failed(f"reset of row {row}, twice", error) from error

    def _reset_env(self, row: int, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        observation, info = self._envs[row].reset(seed=seed, options=options)
        return observation, checked_info(info)

    # ----------------------------------------------------------------------------------------------------- step

    def step(self, action: list[bytes]) -> Outcome:
        if not self._running:
            raise NeedsReset("the environments have not been reset since they were opened or failed: call reset()")
        if self.autoreset_mode is AutoresetMode.DISABLED and any(self._ended):
            ended = [row for row in range(self.num_envs) if self._ended[row]]
            raise NeedsReset(
                f"the episodes of rows {ended} are over and autoreset is disabled: reset them with "
                "options={'reset_mask': ...}",
                rows=ended,
            )
        actions = self._reader.read_rows(action, self.num_envs)
        try:
            return self._step_rows(actions)
        except RemoteEnvError:
            raise
        except FAILURES as error:  # in the midst of the rows: they are out of step with each other now
            raise self._failed("step", error) from error

    def _step_rows(self, actions: list[Any]) -> Outcome:
        n = self.num_envs
        step = _Step(n)
        for row, env in enumerate(self._envs):
            if self._ended[row]:  # NEXT_STEP: SAME_STEP leaves no row ended
                step.observations[row], info = self._reset_row(row, None, None)
                step.was_reset[row] = 1
            else:
                info = self._step_row(row, env, actions[row], step)
            if info:
                add_row(step.infos, info, row, n)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended = [bool(a or b) for a, b in zip(step.terminated, step.truncated, strict=True)]
        self._last = self._stack(step)
        return Outcome(
            self._last,
            step.infos,
            np.array(step.rewards, "<f8").tobytes(),
            bytes(step.terminated),
            bytes(step.truncated),
            bytes(step.valid) if 0 in step.valid else b"",
            bytes(step.was_reset) if 1 in step.was_reset else b"",
            step.final_rows,
            self.observations.join(step.final_observations) if step.final_rows else [],
        )

    def _step_row(self, row: int, env: Env, action: Any, step: _Step) -> dict[str, Any]:
        try:
            step.observations[row], reward, terminated, truncated, info = env.step(action)
            step.rewards[row] = reward if type(reward) is float else checked_reward(reward)
            if type(info) is not dict:
                info = checked_info(info)
            if not terminated and not truncated:
                return info
            step.terminated[row], step.truncated[row] = bool(terminated), bool(truncated)
        except FAILURES as error:
            return self._fail_row(row, error, step)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            info = self._end_row(row, self._pack_row(step.observations[row]), info, step)
        return info

    def _fail_row(self, row: int, error: BaseException, step: _Step) -> dict[str, Any]:
        self._rebuild(row, "step", error)
        step.rewards[row], step.terminated[row], step.truncated[row], step.valid[row] = 0.0, 0, 1, 0
        last = self._last_row(row)
        step.observations[row] = self.observations.unpack(last)
        info: dict[str, Any] = {"bridge_error": f"{type(error).__name__}: {error}"}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            info = self._end_row(row, last, info, step)
        return info

    def _end_row(self, row: int, last: list[bytes], info: dict[str, Any], step: _Step) -> dict[str, Any]:
        step.final_rows.append(row)
        step.final_observations.append(last)
        add_row(step.infos, {"final_info": info}, row, self.num_envs)
        step.observations[row], reset_info = self._reset_row(row, None, None)
        return reset_info

    def _stack(self, step: _Step) -> list[bytes]:
        try:
            return self.observations.stack(step.observations)
        except WireError as error:
            raise self._failed("step", error) from error

    def _pack_row(self, observation: Any) -> list[bytes]:
        try:
            return self.observations.pack(observation)
        except WireError as error:
            raise self._failed("step", error) from error

    def _last_row(self, row: int) -> list[bytes]:
        return self.observations.row(self._last, row, self.num_envs)

    # -------------------------------------------------------------------------------------------------- failure

    def _rebuild(self, row: int, call: str, error: BaseException) -> None:
        """Replace a row's environment after ``error``; too many of these are the whole session's failure."""
        failure = environment_failure(f"{call} of row {row}", error, self._show_tracebacks)
        if not self._budget.take():
            self._running = False
            raise RemoteEnvError(
                f"{failure.args[0]} It has failed more than {self._budget.limit} times within "
                f"{self._budget.window:g} s and is not rebuilt again until then.",
                remote_traceback=failure.remote_traceback,
                limit=self._budget.limit,
            ) from error
        close_quietly(self._envs[row])
        try:
            self._envs[row] = self._make()
        except FAILURES as second:
            raise self._failed(f"making row {row} anew", second) from second
        self._rebuilds[row] += 1
        self._rebuilt[row] = True

    def _failed(self, call: str, error: BaseException) -> RemoteEnvError:
        self._running = False
        return environment_failure(call, error, self._show_tracebacks)

    # ---------------------------------------------------------------------------------------------------- others

    def render(self) -> Any:
        try:
            return tuple(env.render() for env in self._envs)
        except FAILURES as error:
            raise environment_failure("render", error, self._show_tracebacks) from error

    def close(self) -> None:
        for env in self._envs:
            close_quietly(env)
        self._envs = []


class _Step:
    """What one step of a batch collects, row by row, in what is quickest to fill so: no numpy."""

    def __init__(self, n: int) -> None:
        self.observations: list[Any] = [None] * n
        self.rewards = [0.0] * n
        self.terminated, self.truncated, self.was_reset = bytearray(n), bytearray(n), bytearray(n)  # 0 or 1
        self.valid = bytearray(b"\x01") * n
        self.final_rows: list[int] = []
        self.final_observations: list[list[bytes]] = []
        self.infos: dict[str, Any] = {}
