"""The only code that knows autoreset: it steps one vector environment and sorts out what comes back."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from numpy.typing import NDArray

from rlbridge.learn.transition import Step
from rlbridge.play.actions import NotFinite
from rlbridge.play.encoding import Encoder


class Received(NamedTuple):
    """A step, and what is to be counted of it.

    ``transitions`` are those of the run so far, with these; ``dropped`` rows came with ``infos["bridge_valid"]``
    false; ``finished`` are the return (raw rewards) and the length of each episode that ended.
    """

    step: Step
    transitions: int
    dropped: int
    finished: list[tuple[float, int]]
    infos: dict[str, Any]


def halves(step: Any) -> tuple[Any, Callable[[], Any]]:
    """A whole step's observations, and what gives the rest of it."""
    observations, *rest = step
    return observations, lambda: rest


class Stepper:
    """Steps ``envs``, one call a step, in SAME_STEP or NEXT_STEP autoreset mode.

    Args:
        envs: the environments.
        encoder: of their observations.
        timeout: seconds that a step in processes may take.
        first: the number of their first row in the run's whole batch.

    Attributes:
        rows: which rows of the whole batch they are.
        under_way: whether a step has been sent and not received.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], encoder: Encoder, timeout: float, first: int = 0) -> None:
        # Without the tag Gymnasium, too, assumes NEXT_STEP.
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            raise ValueError(f"the environments' autoreset mode is {mode}; SAME_STEP or NEXT_STEP is needed")
        self.envs, self.encoder, self.timeout = envs, encoder, timeout
        self.next_step_mode = mode == AutoresetMode.NEXT_STEP
        n = envs.num_envs
        self.rows = slice(first, first + n)
        self.under_way = False
        self._sent: NDArray[Any] | None = None
        self._observed: tuple[Callable[[], Any], NDArray[Any]] | None = None  # what a step led to, to be settled
        self.resetting = np.zeros(n, dtype=np.bool_)
        self.returns, self.lengths = np.zeros(n), np.zeros(n, dtype=np.int64)

    def reset(self, seed: int, transitions: int) -> NDArray[Any]:
        """Begin every environment anew; returns the encoded first observations ``[n, *shape]``.

        Args:
            seed: of the whole batch's row 0; each row has the next.
            transitions: of the run so far, for messages.
        """
        if self.under_way:  # what comes of that step belongs to episodes that end here
            with contextlib.suppress(Exception):
                self._answer()
        self._observed = None
        observations, _ = self.envs.reset(seed=seed + self.rows.start)
        self.resetting[:], self.returns[:], self.lengths[:] = False, 0.0, 0
        observation = self.encoder.batch(observations)
        self._require_finite("observation", observation, f"at the reset after step {transitions}")
        return observation

    def send(self, actions: NDArray[Any]) -> None:
        """Let the environments begin a step; those on a server or in processes do it while the caller goes on.

        Args:
            actions: in the environment's units, batch axis first.
        """
        if isinstance(self.envs, AsyncVectorEnv):
            self.envs.step_async(actions)
        elif hasattr(self.envs, "send"):
            self.envs.send(actions)
        else:
            self._sent = actions
        self.under_way = True

    def observe(self, transitions: int) -> NDArray[Any]:
        """The encoded observations that the step which was sent led to; :meth:`settle` gives all the rest of it.

        That can wait until the next step has been sent: where environments step on a server or in processes, what is
        done meanwhile costs no time.

        Args:
            transitions: of the run before it, for messages.

        Raises:
            NotFinite: an observation is NaN or infinite; says where.
        """
        observations, rest = self._answer()
        observation = self.encoder.batch(observations)
        step = transitions + len(self.resetting) - np.count_nonzero(self.resetting)
        self._require_finite("observation", observation, f"at step {step}")
        self._observed = rest, observation
        return observation

    def settle(self, transitions: int) -> Received:
        """What the step that was observed led to.

        Args:
            transitions: of the run before it.

        Raises:
            NotFinite: a reward or a final observation is NaN or infinite; says where.
        """
        assert self._observed is not None, "settle before observe"
        rest, observation = self._observed
        self._observed = None
        rewards, terminated, truncated, infos = rest()
        valid, dropped = ~self.resetting, 0
        if "bridge_valid" in infos:
            dropped = int((valid & ~infos["bridge_valid"]).sum())
            valid &= infos["bridge_valid"]
        # Rows that are no transitions may hold anything; nothing may come of it.
        reward = np.where(valid, rewards, 0.0).astype(np.float32)
        transitions += int(np.count_nonzero(valid))
        ended = terminated | truncated
        final: dict[int, NDArray[Any]] = {}
        at = f"at step {transitions}"
        self._require_finite("reward", reward, at)
        if not self.next_step_mode and ended.any():
            final = self._final(infos, np.flatnonzero(ended & valid), at)
        # From here on nothing is refused any more: only what is handed out counts.
        self.returns += reward
        self.lengths += valid
        finished = self._finish(ended, valid) if ended.any() else []
        self.resetting = ended & self.next_step_mode
        step = Step(observation, reward, terminated, truncated, valid, final)
        return Received(step, transitions, dropped, finished, infos)

    def _answer(self) -> tuple[Any, Callable[[], Any]]:
        """The observations of the step that was sent, and what gives the rest of it."""
        self.under_way = False
        if hasattr(self.envs, "recv_observation"):
            return self.envs.recv_observation()  # type: ignore[no-any-return]
        return halves(self._step())

    def _step(self) -> Any:
        if isinstance(self.envs, AsyncVectorEnv):
            try:
                return self.envs.step_wait(timeout=self.timeout)
            except multiprocessing.TimeoutError:
                raise TimeoutError(
                    f"an environment's process did not answer a step within {self.timeout:g} s (env.timeout). It "
                    "hangs, or steps take longer than that."
                ) from None
        if self._sent is None:
            return self.envs.recv()  # type: ignore[attr-defined]
        actions, self._sent = self._sent, None
        return self.envs.step(actions)

    def _finish(self, ended: NDArray[np.bool_], valid: NDArray[np.bool_]) -> list[tuple[float, int]]:
        # An episode that the bridge cut short says nothing about the policy.
        finished = [(float(self.returns[i]), int(self.lengths[i])) for i in np.flatnonzero(ended & valid)]
        self.returns[ended], self.lengths[ended] = 0.0, 0
        return finished

    def _final(self, infos: dict[str, Any], indices: NDArray[np.int64], at: str) -> dict[int, NDArray[Any]]:
        if len(indices) and "final_obs" not in infos:
            raise KeyError(
                f"environment row {self.rows.start + indices[0]} ended in SAME_STEP mode without infos['final_obs']; "
                "its true last observation is needed"
            )
        final = {int(i): self.encoder.single(infos["final_obs"][i]) for i in indices}
        for i, row in final.items():
            self._require_finite("final observation", row[None], at, i)
        return {self.rows.start + i: row for i, row in final.items()}

    def _require_finite(self, what: str, values: NDArray[Any], at: str, row_index: int | None = None) -> None:
        if values.dtype == np.uint8:
            return
        finite = np.isfinite(values)
        if finite.all():
            return
        row = int(np.argwhere(~finite)[0][0])
        raise NotFinite(
            f"environment row {self.rows.start + (row if row_index is None else row_index)} gave the {what} "
            f"{values[row].tolist()} {at}; it must be finite."
        )
