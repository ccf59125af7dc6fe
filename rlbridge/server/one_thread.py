"""An environment that lives in one thread: some libraries (SQLite, OpenGL, COM) insist on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server.environment import Environment, Outcome, ResetCommand


class OnOneThread:
    """Makes, steps and closes an environment in a thread of its own, at the price of two hand-offs a request.

    Args:
        build: makes the environment; called in that thread.
    """

    def __init__(self, build: Callable[[], Environment]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rlbridge-environment")
        try:
            self._inner = self._thread.submit(build).result()
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self.num_envs = self._inner.num_envs
        self.observations, self.actions = self._inner.observations, self._inner.actions
        self.metadata = self._inner.metadata

    @property
    def autoreset_mode(self) -> AutoresetMode | None:
        return self._inner.autoreset_mode

    def reset(self, command: ResetCommand) -> Outcome:
        return self._thread.submit(self._inner.reset, command).result()

    def step(self, action: list[bytes]) -> Outcome:
        return self._thread.submit(self._inner.step, action).result()

    def render(self) -> Any:
        return self._thread.submit(self._inner.render).result()

    def close(self) -> None:
        self._thread.submit(self._inner.close).result()
        self._thread.shutdown(wait=False)
