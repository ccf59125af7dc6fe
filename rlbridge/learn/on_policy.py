"""The loop of algorithms that learn from what their present policy does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlbridge.learn.checkpoint import CheckpointError
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.ppo import PPO


class OnPolicyLoop:
    """Collect a rollout, learn from it, forget it.

    Attributes:
        steps: transitions that were learned from.
        learning: whether an update is under way, so that the learner is half-way between two states.
    """

    def __init__(self, learner: PPO, collector: StepCollector, total_steps: int) -> None:
        self.learner, self.collector, self.total_steps = learner, collector, total_steps
        self.rollout = learner.rollout(collector.envs.num_envs)
        self.steps = 0
        self.learning = False

    def advance(self, check: Callable[[], None]) -> Mapping[str, float] | None:
        """One rollout and one update; gives its metrics. ``check`` is called before every step and may raise."""
        collector, scale = self.collector, self.learner.reward_scale
        if collector.observation is None and not collector.filled and scale is not None:
            scale.returns[:] = 0.0  # new episodes begin
        collector.collect(self.rollout, check)
        self.learning = True
        update = self.learner.update(self.rollout, self.steps / self.total_steps)
        self.learning = False
        self.steps = collector.transitions
        return update

    def state_dict(self) -> dict[str, Any]:
        """Nothing but the count: the rollout is the collector's to save."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any], collector: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            CheckpointError: the part of a rollout that was collected does not fit.
        """
        self.steps = state["steps"]
        if collector["rollout"] is not None:
            try:
                self.rollout.load_state_dict(collector["rollout"]["rows"])
            except Exception as error:
                raise CheckpointError(f"the rollout that was under way does not fit: {error!r}") from None
