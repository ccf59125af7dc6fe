"""The replay memory: what was lived through, kept for many lessons (Lin 1992; Mnih et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlbridge.config import ConfigError, OffPolicyConfig
from rlbridge.learn.machine import memory_limit
from rlbridge.learn.priorities import Priorities
from rlbridge.learn.transition import Step


class Batch(NamedTuple):
    """Transitions to learn from.

    ``observation`` and ``next_observation`` ``[B, *shape]`` encoded, ``action`` ``[B, width]`` raw, ``reward`` ``[B]``
    (the discounted sum of up to n of them), ``discount`` ``[B]`` = gamma^k (1 - terminated): what the value of
    ``next_observation`` is to be multiplied by. ``weight`` ``[B]`` for the loss. ``rows`` ``[B]`` are the memory's own.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_observation: Tensor
    weight: Tensor
    rows: NDArray[np.int64]

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        if device.type == "cpu":
            return self
        *columns, rows = self
        return Batch._make([*(column.to(device, non_blocking=True) for column in columns), rows])


class Replay:
    """One ring for each environment, so that what follows a transition in its ring also followed it in life.

    No learner sees an episode's end, a truncation, n or gamma: they are all in ``reward`` and ``discount``.

    Args:
        config: size, kind, n_step, gamma.
        num_envs: rings.
        shape, dtype: of an encoded observation.
        width, action_dtype: of a raw action.
        seed: of the generator that draws.

    Raises:
        ConfigError: all of it would not fit into this machine's memory.
    """

    def __init__(
        self,
        config: OffPolicyConfig,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        width: int,
        action_dtype: Any,
        seed: int,
    ) -> None:
        self.config, self.num_envs = config, num_envs
        self.capacity = config.replay_size // num_envs  # of one ring
        rows = self.capacity * num_envs  # row of slot t of ring i: t * num_envs + i
        _require_room(rows, 2 * math.prod(shape) * dtype.itemsize + width * np.dtype(action_dtype).itemsize + 6)
        self.observation = np.zeros((rows, *shape), dtype)
        self.next_observation = np.zeros((rows, *shape), dtype)
        self.action = np.zeros((rows, width), action_dtype)
        self.reward = np.zeros(rows, np.float32)
        self.terminated = np.zeros(rows, np.bool_)
        self.last = np.zeros(rows, np.bool_)
        """Nothing that follows in the ring belongs to the same episode."""
        self.added = np.zeros(num_envs, np.int64)
        """Transitions that each ring has ever taken."""
        self.generator = np.random.default_rng(seed)
        self.priorities = Priorities(rows, config.priority_exponent) if config.replay == "prioritised" else None
        self._powers = (config.gamma ** np.arange(config.n_step + 1)).astype(np.float32)

    def __len__(self) -> int:
        """Transitions in memory."""
        return int(np.minimum(self.added, self.capacity).sum())

    def add(self, observation: NDArray[Any], action: NDArray[Any], step: Step) -> None:
        """Take in what raw actions ``[N, width]`` on observations ``[N, *shape]`` led to, but for rows not valid."""
        next_observation = step.observation
        if step.final:
            next_observation = next_observation.copy()
            for i, final in step.final.items():
                next_observation[i] = final
        ring = np.flatnonzero(step.valid)
        if len(ring) < self.num_envs:
            self.cut(np.flatnonzero(~step.valid))
        row = (self.added[ring] % self.capacity) * self.num_envs + ring
        self.observation[row] = observation[ring]
        self.next_observation[row] = next_observation[ring]
        self.action[row] = action[ring]
        self.reward[row] = step.reward[ring]
        self.terminated[row] = step.terminated[ring]
        self.last[row] = (step.terminated | step.truncated)[ring]
        self.added[ring] += 1
        if self.priorities is not None:
            self.priorities.add(row)

    def cut(self, rings: NDArray[np.int64]) -> None:
        """What comes next in these rings does not follow from what is there."""
        some = rings[self.added[rings] > 0]
        self.last[((self.added[some] - 1) % self.capacity) * self.num_envs + some] = True

    def batches(self, count: int, size: int, progress: float = 0.0) -> Iterator[Batch]:
        """The same batches as ``count`` calls of :meth:`sample` give, in less time.

        Nothing may be added in between; where there are priorities, each batch is drawn when it is its turn.
        """
        together = _AT_ONCE // (2 * size * self.observation[0].nbytes) if self.priorities is None else 1
        if min(together, count) <= 1:
            yield from (self.sample(size, progress) for _ in range(count))
            return
        for first in range(0, count, together):
            whole = self.sample(size * min(together, count - first), progress)
            rows = whole.rows.reshape(-1, size)
            for part in zip(*(torch.split(column, size) for column in whole[:-1]), rows, strict=True):
                yield Batch._make(part)

    def sample(self, size: int, progress: float = 0.0) -> Batch:
        """Draw ``size`` transitions, with replacement.

        Args:
            size: B.
            progress: the fraction of the run that is done, for the importance weights.

        Raises:
            ValueError: the memory is empty.
        """
        if not self.added.any():
            raise ValueError("the replay memory is empty: nothing can be drawn from it")
        if self.priorities is None:
            row, weight = self._uniform(size), np.ones(size, np.float32)
        else:
            row, chance = self.priorities.sample(size, self.generator)
            beta = self.config.priority_correction + progress * (1.0 - self.config.priority_correction)
            weight = ((len(self) * chance) ** -beta).astype(np.float32)
            weight /= weight.max()
        reward, discount, end = self._follow(row)
        return Batch(
            torch.from_numpy(self.observation.take(row, 0)),
            torch.from_numpy(self.action.take(row, 0)),
            torch.from_numpy(reward),
            torch.from_numpy(discount),
            torch.from_numpy(self.next_observation.take(end, 0)),
            torch.from_numpy(weight),
            row,
        )

    def _uniform(self, size: int) -> NDArray[np.int64]:
        held = np.minimum(self.added, self.capacity)
        if self.config.replay == "recent":
            held = np.minimum(held, max(self.config.recent // self.num_envs, 1))
        until = np.cumsum(held)
        drawn = self.generator.integers(0, until[-1], size)
        ring = np.searchsorted(until, drawn, side="right")
        age = until[ring] - drawn  # 1 is the newest
        return ((self.added[ring] - age) % self.capacity) * self.num_envs + ring

    def _follow(self, row: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Rewards summed and the last row reached, up to n_step rows on; never over an end or the newest row."""
        reward, end, steps = self.reward.take(row), row, np.ones(len(row), np.int64)
        if self.config.n_step > 1:
            ring = row % self.num_envs
            newest = ((self.added[ring] - 1) % self.capacity) * self.num_envs + ring
            going = np.ones(len(row), np.bool_)
            for k in range(1, self.config.n_step):
                going &= ~self.last[end] & (end != newest)
                end = np.where(going, (end + self.num_envs) % len(self.reward), end)
                reward = reward + np.where(going, self._powers[k] * self.reward[end], np.float32(0.0))
                steps += going
        return reward, self._powers.take(steps) * ~self.terminated.take(end), end

    def update_priorities(self, rows: NDArray[np.int64], error: NDArray[np.float32]) -> None:
        """Say how wrong the learner was ``[B]`` on the transitions that it drew at ``rows``."""
        if self.priorities is not None:
            self.priorities.update(rows, error)

    def state_dict(self) -> dict[str, Any]:
        """All of it: the filled part of the memory, pointers, priorities, generator."""
        filled = int(min(self.added.max(), self.capacity)) * self.num_envs
        return {
            "rows": {name: getattr(self, name)[:filled] for name in _COLUMNS},
            "added": self.added.copy(),
            "generator": self.generator.bit_generator.state,
            "priorities": None if self.priorities is None else self.priorities.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError if the state is of a memory of another size."""
        for name in _COLUMNS:
            stored, ours = state["rows"][name], getattr(self, name)
            if stored.shape[1:] != ours.shape[1:] or len(stored) > len(ours):
                raise ValueError(f"the saved replay memory's {name} is {stored.shape}, this one's {ours.shape}")
            ours[: len(stored)] = stored
        self.added[:] = state["added"]
        self.generator.bit_generator.state = state["generator"]
        if self.priorities is not None:
            self.priorities.load_state_dict(state["priorities"])


def _require_room(rows: int, each: int) -> None:
    """Memory is only taken as the rings fill: without a look now, the run would be ended for it hours later."""
    limit = memory_limit()
    if limit is not None and rows * each > limit:
        raise ConfigError(
            f"the replay memory would take {rows * each:,} bytes ({each:,} for each of {rows:,} transitions), and "
            f"this machine has {limit:,}. Set algorithm.replay_size to {limit // each // 2:,} or less, or make "
            "observations smaller."
        )


_AT_ONCE = 1 << 20  # bytes of observations that are drawn together
_COLUMNS = ("observation", "next_observation", "action", "reward", "terminated", "last")
