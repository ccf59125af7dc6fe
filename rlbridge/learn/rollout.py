"""A rollout: T steps of N environments, in slabs allocated once, and the advantages of its actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlbridge.learn.policy import Policy

_TORCH = {"float32": torch.float32, "uint8": torch.uint8}


class Rollout:
    """``[T, N]`` slabs that a collector fills and a learner reads.

    ``observation`` ``[T + 1, N, *shape]``, encoded (row T is what the last step led to) and ``action``
    ``[T, N, width]`` are torch tensors with a numpy view beside them on the same memory; ``reward`` float32,
    ``terminated``, ``truncated`` and ``valid`` bool are numpy. ``final`` maps ``(t, i)`` to the encoded
    observation that an episode ended in, where the next row already belongs to the next episode. ``log_prob`` float32
    ``[T, N]`` is that of the actions under the policy that took them, where that is not the one that learns; else None.
    """

    def __init__(self, steps: int, num_envs: int, policy: Policy) -> None:
        self.steps, self.num_envs = steps, num_envs
        encoder, width, action_dtype = policy.encoder, policy.distribution.width, policy.distribution.dtype
        self.observation = torch.zeros(steps + 1, num_envs, *encoder.shape, dtype=_TORCH[encoder.dtype.name])
        self.observation_np: NDArray[Any] = self.observation.numpy()
        self.action = torch.zeros(steps, num_envs, width, dtype=action_dtype)
        self.action_np: NDArray[Any] = self.action.numpy()
        self.reward = np.zeros((steps, num_envs), dtype=np.float32)
        self.terminated = np.zeros((steps, num_envs), dtype=np.bool_)
        self.truncated = np.zeros((steps, num_envs), dtype=np.bool_)
        self.valid = np.ones((steps, num_envs), dtype=np.bool_)
        self.final: dict[tuple[int, int], NDArray[Any]] = {}
        self.log_prob: NDArray[np.float32] | None = None

    @property
    def transitions(self) -> int:
        """How many rows are real transitions."""
        return int(self.valid.sum())

    def state_dict(self, filled: int) -> dict[str, Any]:
        """The first ``filled`` steps and the observation they led to, as arrays of their own."""
        final = {key: row for key, row in self.final.items() if key[0] < filled}
        return {
            "observation": self.observation_np[: filled + 1].copy(),
            **{name: getattr(self, name)[:filled].copy() for name in _COLUMNS},
            "log_prob": None if self.log_prob is None else self.log_prob[:filled].copy(),
            "final": None if not final else [np.array(list(final)), np.stack(list(final.values()))],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            ValueError: it is of another rollout: longer, or with other rows.
        """
        filled = len(state["reward"])
        for name, rows in (("observation_np", state["observation"]), *((name, state[name]) for name in _COLUMNS)):
            ours = getattr(self, name)[: filled + (name == "observation_np")]
            if rows.shape != ours.shape or rows.dtype != ours.dtype:
                raise ValueError(f"the rollout's saved {name} is {rows.dtype} {rows.shape}, not {ours.shape}")
            ours[:] = rows
        if state.get("log_prob") is not None:
            self.log_prob = np.zeros_like(self.reward)
            self.log_prob[:filled] = state["log_prob"]
        keys, values = state["final"] or ((), ())
        self.final = {(int(t), int(i)): row.copy() for (t, i), row in zip(keys, values, strict=True)}


_COLUMNS = ("action_np", "reward", "terminated", "truncated", "valid")


def gae(
    reward: NDArray[np.float32],
    value: NDArray[np.float32],
    next_value: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    gamma: float,
    lam: float,
) -> NDArray[np.float32]:
    """Generalised advantage estimation (Schulman et al. 2016), over all environments at once; all ``[T, N]``.

    ``next_value`` is the value of each transition's *true* next observation, which at an episode's end is the final
    one, not the one after the reset. Bootstraps unless terminated; cuts the trace where an episode ended either way,
    and before a row that is no transition.
    """
    delta = reward + gamma * next_value * ~terminated - value
    carry = np.where(terminated | truncated, 0.0, gamma * lam).astype(np.float32)
    carry[:-1] *= valid[1:]
    advantage = np.empty_like(delta)
    trace = np.zeros(delta.shape[1], dtype=np.float32)
    for t in range(len(delta) - 1, -1, -1):
        trace = delta[t] + carry[t] * trace
        advantage[t] = trace
    return advantage
