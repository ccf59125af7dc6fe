"""Policies that act at the server: what is asked for, and what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError, WireError, decode_error

Step = tuple[Any, Any, Any, Any, dict[str, Any]]
"""Observations, rewards, terminated, truncated, infos, as a ``VectorEnv``'s ``step`` gives them."""


class RolloutPolicy:
    """A policy on its way to the server.

    Args:
        kind: what its outputs are; see ``Policy`` in env.proto.
        model: the bytes of an ONNX file.
        version: any count; comes back with what the policy did.

    Raises:
        TypeError: ``model`` is something else, as the file's path.
    """

    def __init__(self, kind: str, model: bytes, version: int = 0) -> None:
        if not isinstance(model, bytes):
            raise TypeError(
                f"model must be the bytes of an ONNX file, not {type(model).__name__}: Path(...).read_bytes()"
            )
        self.kind, self.model, self.version = kind, model, version
        self.sha256 = hashlib.sha256(model).digest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RolloutPolicy):
            return NotImplemented
        return (self.sha256, self.kind, self.version) == (other.sha256, other.kind, other.version)

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True)
class Rollout:
    """Steps to be made at the server.

    Attributes:
        steps: at most so many.
        sampling: how actions are drawn: deterministic, categorical, epsilon_greedy, diagonal_gaussian,
            squashed_gaussian, additive_gaussian, ornstein_uhlenbeck, uniform.
        policy: who acts; None with ``uniform``.
        seed: of chance. first_step: the number of the first step, which chance depends on, too.
        parameters: epsilon, sigma, theta, where the way of sampling takes them.
    """

    steps: int
    sampling: str
    policy: RolloutPolicy | None = None
    seed: int = 0
    first_step: int = 0
    parameters: Mapping[str, float] = field(default_factory=dict)

    def request(self, held: bytes) -> env_pb2.RolloutRequest:
        """The message; the model goes along unless it is the one that the session ``held`` last.

        Raises:
            WireError: no way of sampling is called so.
        """
        try:
            way = env_pb2.Sampling.Value(f"SAMPLING_{self.sampling.upper()}")
        except ValueError:
            known = ", ".join(name.removeprefix("SAMPLING_").lower() for name in env_pb2.Sampling.keys()[1:])
            raise WireError(f"no way of sampling is called {self.sampling!r}; there are {known}") from None
        request = env_pb2.RolloutRequest(
            steps=self.steps,
            sampling=way,  # type: ignore[arg-type]
            sampling_seed=self.seed,
            sampling_parameters=self.parameters,
            first_step=self.first_step,
        )
        if self.policy is not None:
            request.policy.sha256, request.policy.kind = self.policy.sha256, self.policy.kind
            request.policy.version = self.policy.version
            if self.policy.sha256 != held:
                request.policy.model = self.policy.model
        return request


class RolloutResult:
    """What came of a rollout of T steps of N environments.

    Attributes:
        action: raw actions ``[T, N, width]``: int64 indices, or float32 where -1..1 spans the bounds.
        log_prob: float32 ``[T, N]``, of those actions; None where the way of sampling does not give it.
        policy_version: whose actions they are.
        error: why there are fewer steps than asked for, where the environment failed.
    """

    def __init__(
        self,
        steps: Sequence[Any],
        decode: Callable[[Any], Step],
        action: NDArray[Any],
        log_prob: NDArray[np.float32] | None,
        policy_version: int,
        error: BridgeError | None,
    ) -> None:
        self._steps, self._decode = steps, decode
        self.action, self.log_prob, self.policy_version, self.error = action, log_prob, policy_version, error

    def __len__(self) -> int:
        """T."""
        return len(self._steps)

    def step(self, t: int) -> Step:
        """What step t led to; ask for them in turn."""
        return self._decode(self._steps[t])

    @classmethod
    def of(
        cls,
        response: env_pb2.RolloutResponse,
        num_envs: int,
        action_space: spaces.Space[Any],
        decode: Callable[[Any], Step],
    ) -> RolloutResult:
        """Read an answer.

        Raises:
            WireError: its parts do not fit each other.
        """
        steps = len(response.steps)
        action = np.frombuffer(response.action, raw_dtype(action_space))
        log_prob = np.frombuffer(response.log_prob, "<f4")
        if not steps or len(action) % (steps * num_envs) or len(log_prob) not in (0, steps * num_envs):
            raise WireError(f"a rollout of {steps} steps came with {len(action)} numbers of actions")
        return cls(
            response.steps,
            decode,
            action.reshape(steps, num_envs, -1),
            log_prob.reshape(steps, num_envs) if len(log_prob) else None,
            response.policy_version,
            decode_error(response.error) if response.HasField("error") else None,
        )

    @classmethod
    def lost(cls, steps: list[Step], rollout: Rollout, num_envs: int, action_space: spaces.Space[Any]) -> RolloutResult:
        """Steps that say that the environments are gone; none of them is to be learned from."""
        width = 1 if isinstance(action_space, spaces.Discrete) else int(np.prod(action_space.shape or ()))
        action = np.zeros((len(steps), num_envs, width), raw_dtype(action_space))
        version = rollout.policy.version if rollout.policy is not None else 0
        log_prob = np.zeros(action.shape[:2], np.float32)
        return cls(steps, lambda step: step, action, log_prob, version, None)


def raw_dtype(action_space: spaces.Space[Any]) -> np.dtype[Any]:
    """Of raw actions: little-endian float32 for a Box, else int64."""
    return np.dtype("<f4" if isinstance(action_space, spaces.Box) else "<i8")
