"""The loop of algorithms that learn from a replay memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlbridge.config import OffPolicyConfig
from rlbridge.learn.checkpoint import require_like
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.due import passed
from rlbridge.learn.edge import EdgeCollector, EdgeExplorer
from rlbridge.learn.explore import Explorer, explorer_for
from rlbridge.learn.learner import OffPolicyLearner
from rlbridge.learn.replay import Replay
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.split_envs import joined

_RECORD_EVERY = 1_000  # transitions between two reports, since updates are many


class OffPolicyLoop:
    """Act, and while the environments step, learn from what is remembered; then remember what came of it.

    An update sees only what is stored already, so the overlap changes no number.

    Args:
        learner, collector: what learns, what steps.
        config: when to learn from what.
        seeds: of exploration and memory.
        restarts: whether new episodes are to begin after so many transitions.

    Attributes:
        steps: transitions remembered.
        learning: whether an update is under way, so that the learner is half-way between two states.
    """

    def __init__(
        self,
        learner: OffPolicyLearner,
        collector: StepCollector,
        config: OffPolicyConfig,
        seeds: Seeds,
        restarts: Callable[[int], bool],
    ) -> None:
        self.learner, self.collector, self.config, self.restarts = learner, collector, config, restarts
        policy, n = learner.policy, collector.envs.num_envs
        encoder, actions = policy.encoder, policy.actions
        self.explorer: Explorer = (
            EdgeExplorer(collector, config.total_steps)
            if isinstance(collector, EdgeCollector)
            else explorer_for(config, policy, n, seeds.exploration)
        )
        self.replay = Replay(config, n, encoder.shape, encoder.dtype, actions.width, actions.dtype, seeds.replay)
        self.steps = self._recorded_at = 0
        self.learning = False
        self._measured: dict[str, torch.Tensor] = {}
        self._decided: NDArray[Any] | None = None  # the action to take next, if it has been drawn already

    def advance(self, check: Callable[[], None]) -> Mapping[str, float] | None:
        """One step of all environments and the gradient steps that are due; now and then, the latest update's metrics.

        ``check`` is called first and may raise.
        """
        check()
        collector, policy = self.collector, self.learner.policy
        observation = collector.observation
        if observation is None:
            observation = self._begin_episodes()
        action, self._decided = self._decided, None
        drawn = self._draw(observation) if action is None else [action[group.rows] for group in collector.groups]
        taken = []
        for group, part in zip(collector.groups, drawn, strict=True):  # a part is drawn while those before it step
            group.send(policy.actions.to_environment(part))
            taken.append(part)
        action = joined(taken)
        self._learn()
        step = collector.receive()
        self.replay.add(observation, action, step)
        # Not valid is also a row that was being reset: what was explored there belongs to no episode.
        self.explorer.ended(step.terminated | step.truncated | ~step.valid)
        if policy.normaliser is not None and step.valid.any():
            policy.normaliser.update(torch.from_numpy(step.observation[step.valid]).to(policy.device))
        self.steps = collector.transitions
        done = self.steps >= self.config.total_steps
        if done:
            # As in every step the action comes first: with more steps to do, a resumed run equals one that had
            # them from the start.
            if not self.restarts(self.steps):
                self._decided = joined(list(self._draw(step.observation)))
            self._learn()  # nothing will be sent any more for it to overlap with
        if not passed(_RECORD_EVERY, self._recorded_at, self.steps, done):
            return None
        self._recorded_at = self.steps
        return {name: float(value) for name, value in self._measured.items()}

    def _draw(self, observation: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Raw actions, group by group."""
        for rows in (group.rows for group in self.collector.groups):
            yield self.explorer.act(observation[rows], self.steps, rows)

    def _begin_episodes(self) -> NDArray[Any]:
        observation = self.collector.reset()
        everyone = np.ones(len(observation), np.bool_)
        self.replay.cut(np.flatnonzero(everyone))
        self.explorer.ended(everyone)
        return observation

    def _learn(self) -> None:
        """The gradient steps that the transitions so far allow, and that were not done yet."""
        cfg, learner = self.config, self.learner
        due = cfg.updates_due(self.steps) - learner.updates
        if due <= 0:
            return
        progress = min(self.steps / cfg.total_steps, 1.0)
        if cfg.learning_rate_schedule == "linear":
            learner.set_learning_rate(cfg.learning_rate * (1.0 - progress))
        self.learning = True
        for number, batch in enumerate(self.replay.batches(due, cfg.batch_size, progress), 1):
            found = learner.update(batch.to(learner.policy.device), measure=number == due and self._record_near())
            error = found.pop("priority")
            self._measured = found or self._measured
            if self.replay.priorities is not None:
                self.replay.update_priorities(batch.rows, error.cpu().numpy())
        self.learning = False

    def _record_near(self) -> bool:
        """Whether metrics may be reported before there is another bout of gradient steps."""
        until = self.steps + max(self.config.train_every, self.collector.envs.num_envs)
        return passed(_RECORD_EVERY, self._recorded_at, until, until >= self.config.total_steps)

    def state_dict(self) -> dict[str, Any]:
        """Memory, exploration, counts, the latest metrics, the action decided upon."""
        return {
            "steps": self.steps,
            "recorded_at": self._recorded_at,
            "replay": self.replay.state_dict(),
            "explorer": self.explorer.state_dict(),
            "measured": {name: float(value) for name, value in self._measured.items()},
            "decided": self._decided,
        }

    def load_state_dict(self, state: dict[str, Any], collector: dict[str, Any]) -> None:
        """Go on from there; ``collector`` is that one's state, and was loaded before.

        Raises:
            CheckpointError: it is of another shape; names what.
        """
        ours = self.replay.state_dict()
        require_like(state["replay"], ours, "replay", frozenset(f"replay/rows/{name}" for name in ours["rows"]))
        require_like(state["explorer"], self.explorer.state_dict(), "explorer")
        self.replay.load_state_dict(state["replay"])
        self.explorer.load_state_dict(state["explorer"])
        self._measured = {name: torch.tensor(value, dtype=torch.float64) for name, value in state["measured"].items()}
        if self.collector.observation is not None and state["decided"] is not None:
            require_like(state["decided"], self.replay.action[: self.collector.envs.num_envs], "decided")
            self._decided = state["decided"]
        self.steps, self._recorded_at = state["steps"], state["recorded_at"]
