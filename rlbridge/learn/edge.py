"""A collector whose policy acts at the server, many steps a message, so that distance costs almost nothing.

The policy travels as ONNX, and what it did comes back: observations, raw actions, their log-probabilities. While the
learner learns from one rollout, the server makes the next ones (``env.overlap``), each with the policy as it was when
that one was asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.client import Rollout as Request
from rlbridge.client import RolloutPolicy, RolloutResult, Unsupported
from rlbridge.config import AlgorithmConfig, DQNConfig, NoiseConfig, OffPolicyConfig, PPOConfig, RunConfig
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.explore import EVERYONE, EpsilonGreedy
from rlbridge.learn.onnx_graph import kind_of, policy_model
from rlbridge.learn.policy import Policy
from rlbridge.learn.rollout import Rollout
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.stepper import Stepper, halves
from rlbridge.play.actions import NotFinite
from rlbridge.play.encoding import Encoder

DEFAULT_CHUNK = 32


class EdgeCollector(StepCollector):
    """Asks the server for rollouts and hands out their steps.

    Args:
        envs: with ``send_rollout`` and ``recv_rollout``.
        policy: who acts; as it is when a rollout is asked for.
        seeds: of resets, and of chance.
        config: the run's.

    Attributes:
        clock: the number of the step that is handed out next, which chance depends on.
        versions: policies that were sent.

    Raises:
        Unsupported: the server keeps fewer outcomes than rollouts are to be under way.
    """

    envs: Any

    def __init__(self, envs: Any, policy: Policy, seeds: Seeds, config: RunConfig) -> None:
        super().__init__(envs, policy, seeds, config.env.timeout)
        self.algorithm, self.overlap = config.algorithm, config.env.overlap
        algorithm = config.algorithm
        whole = algorithm.rollout_steps if isinstance(algorithm, PPOConfig) else DEFAULT_CHUNK
        self.chunk = config.env.chunk or whole
        self.groups = [_Told(envs, policy.encoder, config.env.timeout, self._next)]
        self.clock = self.versions = 0
        self._result: RolloutResult | None = None
        self._at = 0  # the step in it that is handed out next
        self._asked: deque[tuple[int, int]] = deque()  # first step and length of each under way, oldest first
        self._at_once()

    def action(self) -> NDArray[Any]:
        """The raw actions ``[N, width]`` of the step that :meth:`receive` gives next; waits for them."""
        return self._present().action[self._at]  # type: ignore[no-any-return]

    def reset(self) -> NDArray[Any]:
        for _ in range(len(self._asked)):  # of episodes that nobody wants any more, nor what became of them
            self._asked.popleft()
            with contextlib.suppress(Exception):
                self.envs.recv_rollout()
        self._result = None
        return super().reset()

    def _next(self) -> Any:
        step = self._present().step(self._at)
        self._at += 1
        self.clock += 1
        return step

    def _fill(self, rollout: Rollout, check: Any) -> None:
        self._begin(rollout)
        if rollout.log_prob is None:
            rollout.log_prob = np.zeros_like(rollout.reward)
        for t in range(self.filled, rollout.steps):
            check()
            if self.observation is None:
                self._begin_anew(rollout, t)
            present = self._present()
            rollout.action_np[t] = self.action()
            if present.log_prob is not None:
                rollout.log_prob[t] = present.log_prob[self._at]
            step = self.receive()
            rollout.observation_np[t + 1] = step.observation
            self._store(rollout, t, slice(None), step)
            self.filled = t + 1

    def _present(self) -> RolloutResult:
        """The rollout whose steps are being handed out; the next one where all of them were."""
        result = self._result
        if result is not None and self._at < len(result):
            return result
        if result is not None and result.error is not None:
            raise result.error
        # Asking before waiting: the policy is no other one after it.
        self._ask(self._at_once())
        self.clock, _ = self._asked.popleft()
        self._result, self._at = self.envs.recv_rollout(), 0
        self._ask(min(self.overlap, self._at_once()))
        return self._result

    def _at_once(self) -> int:
        """How many rollouts are to be under way when one is waited for."""
        most = self.envs.rollouts_at_once
        if self.overlap > most:
            raise Unsupported(
                f"env.overlap = {self.overlap}, but this server keeps {most} outcomes, and no more rollouts can be "
                "under way. Set it to that, or raise kept_outcomes of its ServerLimits."
            )
        return min(self.overlap + 1, int(most))

    def _ask(self, many: int) -> None:
        """Have so many rollouts under way, but none that the run will not come to."""
        while len(self._asked) < many and self._ask_one():
            pass

    def _ask_one(self) -> bool:
        """Ask for the rollout behind those under way; False if the run ends before."""
        n, total = self.envs.num_envs, self.algorithm.total_steps
        left = len(self._result) - self._at if self._result is not None else 0
        first = sum(self._asked[-1]) if self._asked else self.clock + left
        ahead = left + sum(steps for _, steps in self._asked)
        begins = self.transitions + ahead * n
        if ahead and begins >= total:
            return False
        steps, until = self.chunk, total
        if isinstance(self.algorithm, OffPolicyConfig):
            if begins < self.algorithm.learning_starts:
                until = min(total, self.algorithm.learning_starts)
            steps = max(min(steps, math.ceil((until - begins) / n)), 1)
        way, parameters = sampling(self.algorithm, self.policy, begins)
        policy = None if way == "uniform" else self._packed()
        self.envs.send_rollout(Request(steps, way, policy, self.seeds.actions, first, parameters))
        self._asked.append((first, steps))
        return True

    def _packed(self) -> RolloutPolicy:
        for name, weights in self.policy.named_parameters():
            if not bool(weights.isfinite().all()):
                raise NotFinite(f"the policy's {name} is not finite at step {self.transitions}; it was not sent.")
        self.versions += 1
        return RolloutPolicy(kind_of(self.policy), policy_model(self.policy), self.versions)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "clock": self.clock}

    def load_state_dict(self, state: dict[str, Any], same_environments: bool = True) -> None:
        super().load_state_dict(state, same_environments)
        self.clock = int(state.get("clock", 0))


class _Told(Stepper):
    """Sorts out steps that a server has made by itself; ``answer`` gives the next one."""

    def __init__(self, envs: Any, encoder: Encoder, timeout: float, answer: Callable[[], Any]) -> None:
        super().__init__(envs, encoder, timeout)
        self.answer = answer

    def send(self, actions: NDArray[Any]) -> None:
        """Nothing: the server acts."""

    def _answer(self) -> tuple[Any, Callable[[], Any]]:
        return halves(self.answer())


class EdgeExplorer:
    """In the place of an explorer, where the server explores: says what was done.

    Args:
        collector: of the steps.
        total_steps: after which nothing is done any more.
    """

    def __init__(self, collector: EdgeCollector, total_steps: int) -> None:
        self.collector, self.total_steps = collector, total_steps

    def act(self, observation: NDArray[Any], steps: int, rows: slice = EVERYONE) -> NDArray[Any]:
        if steps >= self.total_steps:
            actions = self.collector.policy.actions
            return np.zeros((len(observation), actions.width), actions.dtype)
        return self.collector.action()

    def ended(self, rows: NDArray[np.bool_]) -> None:
        """The server knows."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def sampling(algorithm: AlgorithmConfig, policy: Policy, steps: int) -> tuple[str, dict[str, float]]:
    """How actions are drawn in training after ``steps`` transitions: a name and parameters as
    :class:`rlbridge.client.Rollout` has them."""
    if isinstance(algorithm, OffPolicyConfig) and steps < algorithm.learning_starts:
        return "uniform", {}
    if isinstance(algorithm, DQNConfig):
        return "epsilon_greedy", {"epsilon": EpsilonGreedy(policy, algorithm, 0).epsilon(steps)}
    if isinstance(algorithm, NoiseConfig):
        if algorithm.noise == "none":
            return "deterministic", {}
        if algorithm.noise == "gaussian":
            return "additive_gaussian", {"sigma": algorithm.noise_std}
        return "ornstein_uhlenbeck", {"sigma": algorithm.noise_std, "theta": algorithm.noise_theta}
    return {"categorical": "categorical", "gaussian": "diagonal_gaussian"}.get(kind_of(policy), "squashed_gaussian"), {}
