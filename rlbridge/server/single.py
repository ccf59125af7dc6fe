"""One environment, without a batch axis."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import gymnasium

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server.actions import ActionBounds, ActionReader
from rlbridge.server.environment import Outcome, ResetCommand
from rlbridge.server.failure import FAILURES, checked_info, checked_reward, close_quietly, environment_failure
from rlbridge.wire import BlockCodec
from rlbridge.wire.errors import NeedsReset, Unsupported

Env = gymnasium.Env[Any, Any]
_FLAGS = (b"\x00", b"\x01")


class SingleEnvironment:
    """A ``gymnasium.Env`` behind packed observations and actions.

    After an exception the environment is made anew by the next reset: what is left of it is not trusted.
    """

    num_envs = 0
    autoreset_mode: AutoresetMode | None = None

    def __init__(self, make: Callable[[], Env], bounds: ActionBounds, show_tracebacks: bool) -> None:
        self._make = make
        self._show_tracebacks = show_tracebacks
        self._env: Env | None = make()
        self._running = False
        self.metadata = dict(self._env.metadata or {})
        self.observations = BlockCodec(self._env.observation_space)
        self.actions = BlockCodec(self._env.action_space)
        self._reader = ActionReader(self.actions, bounds)

    def reset(self, command: ResetCommand) -> Outcome:
        if command.row_seeds is not None or command.mask is not None:
            raise Unsupported("a single environment (num_envs = 0) takes a seed, not row_seeds or a reset_mask")
        try:
            if self._env is None:
                self._env = self._make()
            observation, info = self._env.reset(seed=command.seed, options=command.options)
            packed = self.observations.pack(observation)
            info = checked_info(info)
        except FAILURES as error:
            raise self._failed("reset", error) from error
        self._running = True
        return Outcome(packed, info)

    def step(self, action: list[bytes]) -> Outcome:
        if not self._running or self._env is None:
            raise NeedsReset("the environment has not been reset since it was opened or failed: call reset() first")
        decoded = self._reader.read(action)
        try:
            observation, reward, terminated, truncated, info = self._env.step(decoded)
            return Outcome(
                self.observations.pack(observation),
                checked_info(info),
                struct.pack("<d", reward if type(reward) is float else checked_reward(reward)),
                _FLAGS[bool(terminated)],
                _FLAGS[bool(truncated)],
            )
        except FAILURES as error:
            raise self._failed("step", error) from error

    def render(self) -> Any:
        if self._env is None:
            raise NeedsReset("the environment failed: call reset() first")
        try:
            return self._env.render()
        except FAILURES as error:
            raise environment_failure("render", error, self._show_tracebacks) from error

    def close(self) -> None:
        if self._env is not None:
            close_quietly(self._env)
            self._env = None

    def _failed(self, call: str, error: BaseException) -> Exception:
        self.close()
        self._running = False
        return environment_failure(call, error, self._show_tracebacks)
