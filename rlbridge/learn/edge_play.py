"""Evaluation at the server: whole episodes without a round trip for each of their steps."""

from __future__ import annotations

from typing import Any

from rlbridge.client import Rollout, RolloutPolicy, RolloutResult
from rlbridge.learn.onnx_graph import kind_of, policy_model
from rlbridge.learn.policy import Policy

_STEPS = 64  # in one message; what is made after the last episode's end is not looked at


class EdgePlay:
    """A policy and its environments in one, for :func:`rlbridge.play.evaluate`: the server acts, deterministically.

    Args:
        envs: with ``send_rollout`` and ``recv_rollout``.
        policy: as it is now.
    """

    def __init__(self, envs: Any, policy: Policy) -> None:
        self.envs, self.num_envs, self.metadata = envs, envs.num_envs, envs.metadata
        self._policy = RolloutPolicy(kind_of(policy), policy_model(policy))
        self._result: RolloutResult | None = None
        self._at = 0

    def reset(self, seed: int) -> Any:
        """As a vector environment's."""
        self._result = None
        return self.envs.reset(seed=seed)

    def act(self, observation: Any, deterministic: bool) -> None:
        """Nothing: the server acts."""

    def step(self, actions: None) -> Any:
        """What the server's next step led to, as a vector environment's ``step`` gives it."""
        if self._result is None or self._at == len(self._result):
            if self._result is not None and self._result.error is not None:
                raise self._result.error
            self.envs.send_rollout(Rollout(_STEPS, "deterministic", self._policy))
            self._result, self._at = self.envs.recv_rollout(), 0
        self._at += 1
        return self._result.step(self._at - 1)
