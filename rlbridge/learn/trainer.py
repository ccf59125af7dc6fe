"""The trainer knows time: when to collect, update, evaluate, checkpoint, report and stop."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from rlbridge.config import OffPolicyConfig, RunConfig
from rlbridge.learn import env_state
from rlbridge.learn.checkpoint import CheckpointError, prune_checkpoints, require_like, save_checkpoint
from rlbridge.learn.collect import StepCollector
from rlbridge.learn.curve import draw_curve
from rlbridge.learn.due import passed
from rlbridge.learn.edge import EdgeCollector
from rlbridge.learn.edge_play import EdgePlay
from rlbridge.learn.environments import close_envs, make_envs, make_training_envs
from rlbridge.learn.export import export_at_end
from rlbridge.learn.film import film_after, film_before
from rlbridge.learn.learners import make_learner
from rlbridge.learn.metrics import Metrics
from rlbridge.learn.off_policy import OffPolicyLoop
from rlbridge.learn.on_policy import OnPolicyLoop
from rlbridge.learn.policy import Policy
from rlbridge.learn.ppo import PPO
from rlbridge.learn.progress import ProgressReport
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.stops import Stopped, Stops
from rlbridge.play.actions import NotFinite
from rlbridge.play.evaluate import Evaluation, evaluate
from rlbridge.play.space_state import space_from_state, space_to_state
from rlbridge.runs.folder import RunFolder

Callback = Callable[[int, Mapping[str, float]], None]
"""Called after every update with the step and its metrics; raising :class:`Stopped` in it ends the run cleanly."""


_ADVICE = "a smaller learning_rate or max_gradient_norm, or normalised observations and rewards, may help."
_NOTHING_WRITTEN = {
    **{"recent": np.empty((0, 3)), "episode_count": 0, "seconds": 0.0},
    **{"metrics_size": 0, "episodes_size": 0},
}


class Trainer:
    """One run, from its first step to its last.

    Args:
        config: the run.
        progress: True = show it, False = do not, None = a bar if stderr is a terminal, else plain lines.
        callback: see :data:`Callback`.
        baseline: a name and a return for the level line in the learning curve.
        resumed: what to go on from; None begins a new run.

    Raises:
        UnsupportedSpace, ConfigError, RunFolderError: before anything is stepped or written.
        CheckpointError: what is to be resumed does not suit these environments or networks; nothing was written.
    """

    def __init__(
        self,
        config: RunConfig,
        progress: bool | None = None,
        callback: Callback | None = None,
        baseline: tuple[str, float] | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        self.config, self.callback, self.baseline = config, callback, baseline
        self.seeds = Seeds.from_run(config.run.seed)
        self.envs = make_training_envs(config)
        try:
            spaces = self.envs.single_observation_space, self.envs.single_action_space
            self.learner = make_learner(config, *spaces, self.seeds)
            self.collector = self._make_collector()
            self.loop = self._make_loop()
            self._prepare(resumed)
        except BaseException:
            close_envs(self.envs)
            raise
        self.report = ProgressReport(config.algorithm.total_steps, progress)
        self.stops = Stops(self.folder, config.run.max_seconds, self._paused)
        self.total_steps = config.algorithm.total_steps
        self._evaluation_envs: VectorEnv[Any, Any, Any] | None = None
        self._latest: dict[str, float] = {}
        self._state_due = 0.0
        self._begun, self._begun_at = time.monotonic(), 0

    def _make_collector(self) -> StepCollector:
        policy = self.learner.policy
        if self.config.env.placement == "edge":
            return EdgeCollector(self.envs, policy, self.seeds, self.config)
        return StepCollector(self.envs, policy, self.seeds, self.config.env.timeout)

    def _make_loop(self) -> OnPolicyLoop | OffPolicyLoop:
        algorithm = self.config.algorithm
        if isinstance(self.learner, PPO):
            return OnPolicyLoop(self.learner, self.collector, algorithm.total_steps)
        assert isinstance(algorithm, OffPolicyConfig)
        return OffPolicyLoop(self.learner, self.collector, algorithm, self.seeds, self._restart_due)

    def _prepare(self, resumed: Resumed | None) -> None:
        """Counters and run folder: new ones, or those of the run to go on with."""
        self.best = -math.inf
        self.last_checkpoint: Path | None = None
        self._saved_at = self._evaluated_at = self._checkpointed_at = 0
        self._failed = self._told = False
        self.folder = RunFolder.create(self.config) if resumed is None else resumed.folder
        try:
            written = None
            if resumed is not None:
                self.last_checkpoint, written = resumed.checkpoint, _NOTHING_WRITTEN
                if resumed.state is not None:
                    self._load(resumed.state, resumed.same_environments)
                    written = resumed.state["metrics"]
                self.folder.take_up(self.config)
            self.metrics = Metrics(self.folder, self.config.run.tensorboard, written, self.steps)
            self.folder.write_environment(self.envs)
        except BaseException:
            self.folder.release()
            raise

    def run(self) -> str:
        """Train until something says stop; returns what: ``total_steps``, ``target_return``, ``wall_time``,
        ``stop_file``, ``SIGINT`` or ``SIGTERM``. The run folder is then complete and the environments are closed.

        Raises:
            NotFinite: an environment or an update gave NaN; names the step, the row and the last checkpoint.
        """
        self._say(f"run folder {self.folder.path}")
        if self.last_checkpoint is not None:
            again = "begin new episodes" if self.collector.observation is None else "are restored"
            self._say(f"resumed from {self.last_checkpoint.name}; the environments {again}")
        self._begun, self._begun_at = time.monotonic(), self.steps
        try:
            with self.stops, self.report:
                try:
                    if self.steps:
                        self._evaluate_and_save()  # what was due when the run was stopped
                    else:
                        film_before(*self._filmed(), self.stops.check)
                    while self.steps < self.total_steps:
                        update = self.loop.advance(self.stops.check)
                        if update is not None:
                            self._report(update)
                        self._evaluate_and_save()
                    reason = "total_steps"
                except Stopped as stop:
                    reason = stop.reason
                self.save()
                self._export()
                self._say(film_after(*self._filmed(), reason))
            self._write_state("stopped" if reason.startswith("SIG") else "finished", reason=reason)
            self._say(f"ended by {reason} after {self.steps:,} steps; last checkpoint {self.last_checkpoint}")
            return reason
        except BaseException as error:
            self._fail(error)
            if isinstance(error, NotFinite):
                raise NotFinite(
                    f"{error} {self.steps:,} steps are done. Last checkpoint: {self.last_checkpoint or 'none'}."
                ) from None
            raise
        finally:
            try:
                self.metrics.close()
                draw_curve(self.folder, f"{self.config.algorithm.name} on {self.config.env.target}", self.baseline)
                close_envs(self.envs)
                if self._evaluation_envs is not None:
                    close_envs(self._evaluation_envs)
            finally:
                self.folder.release()

    @property
    def steps(self) -> int:
        """Transitions that the run has learned from, all environments together."""
        return self.loop.steps

    def save(self) -> Path:
        """Write ``checkpoints/step_<n>``, unless it is there already, and drop the oldest.

        Raises:
            NotFinite: the weights are; the checkpoints that there are stay.
        """
        if self.last_checkpoint is None or self._saved_at != self.steps or self.collector.filled:
            self._require_finite_weights()
            path, state = self.folder.checkpoints / f"step_{self.steps}", self.state_dict()
            self.last_checkpoint = save_checkpoint(path, state)
            self._saved_at = self.steps
            if not state["exact"] and not self._told:
                self._told = True
                self.folder.log(f"the environments cannot be restored ({env_state.why_not(self.envs) or 'it failed'})")
            # A run that restarts its episodes is resumed from the last exact one.
            if state["exact"] or not self.config.checkpoint.restart_episodes:
                prune_checkpoints(self.folder.checkpoints, self.config.checkpoint.keep)
        return self.last_checkpoint

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on.

        ``environments`` says whether their states are in it (restored) or a resumed run begins new episodes
        (restarted); ``exact``, whether that run equals one that goes on from here.
        """
        collector = self.collector.state_dict()
        restored = collector["under_way"] is not None
        return {
            "environments": "restored" if restored else "restarted",
            "exact": not self._failed and (restored or self.collector.observation is None),
            "config": self.config.model_dump(mode="json"),
            "algorithm": self.config.algorithm.model_dump(),
            "network": self.config.network.model_dump(),
            "observation_space": space_to_state(self.envs.single_observation_space),
            "action_space": space_to_state(self.envs.single_action_space),
            "learner": self.learner.state_dict(),
            "collector": collector,
            "loop": self.loop.state_dict(),
            "metrics": self.metrics.state_dict(),
            "counters": self._counters(),
        }

    def _counters(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "best": self.best,
            "evaluated_at": self._evaluated_at,
            "checkpointed_at": self._checkpointed_at,
        }

    def _load(self, state: dict[str, Any], same_environments: bool) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            CheckpointError: it is not of such a run; names what differs.
        """
        try:
            self._require_same_spaces(state)
            require_like(state["learner"], self.learner.state_dict(), "learner")
            require_like(state["counters"], self._counters(), "counters")
            require_like(state["metrics"], _NOTHING_WRITTEN, "metrics", frozenset(["metrics/recent"]))
            self.learner.load_state_dict(state["learner"])
            self.collector.load_state_dict(state["collector"], same_environments)
            self.loop.load_state_dict(state["loop"], state["collector"])
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"the checkpoint does not suit this run: {error!r}") from None
        counters = state["counters"]
        self._saved_at, self.best = counters["steps"], counters["best"]
        self._evaluated_at, self._checkpointed_at = counters["evaluated_at"], counters["checkpointed_at"]

    def _require_same_spaces(self, state: dict[str, Any]) -> None:
        for what in ("observation", "action"):
            trained, found = space_from_state(state[f"{what}_space"]), getattr(self.envs, f"single_{what}_space")
            if trained != found:
                raise CheckpointError(
                    f"the run was trained with {what}s in {trained}; those of {self.config.env.target} are in {found}."
                )

    def _require_finite_weights(self) -> None:
        # Losses are looked at now and then only, and the last gradient step may be the one that broke them.
        for name, part in vars(self.learner).items():
            if isinstance(part, torch.nn.Module):
                for weights in part.parameters():
                    if not bool(weights.isfinite().all()):
                        raise NotFinite(f"the updates until step {self.steps} left the {name} not finite; {_ADVICE}")

    def _report(self, update: Mapping[str, float]) -> None:
        _require_finite(update, self.steps)
        self.metrics.add_episodes(self.collector.take_episodes())
        fps = (self.steps - self._begun_at) / (time.monotonic() - self._begun)
        bridge = self.envs.bridge_metrics() if hasattr(self.envs, "bridge_metrics") else {}
        self._record(
            {
                **self.metrics.episode_means(),
                "time/fps": fps,
                "time/total_steps": float(self.steps),
                "rollout/dropped": float(self.collector.dropped),
                **self.collector.gates.take(),
                **bridge,
                **update,
            }
        )

    def _evaluate_and_save(self) -> None:
        if passed(self.config.evaluation.every, self._evaluated_at, self.steps, self.steps >= self.total_steps):
            self._evaluate()
        if self._restart_due(self.steps):
            self.collector.observation = None
        if self._checkpoint_due(self.steps):
            self._checkpointed_at = self.steps
            self.save()

    def _checkpoint_due(self, steps: int) -> bool:
        return passed(self.config.checkpoint.every, self._checkpointed_at, steps, False)

    def _restart_due(self, steps: int) -> bool:
        return self.config.checkpoint.restart_episodes and self._checkpoint_due(steps)

    def _record(self, values: dict[str, float]) -> None:
        self.metrics.write(self.steps, values)
        self._latest.update(values)
        self.report.update(self.steps, self._latest)
        if time.monotonic() >= self._state_due:
            self._state_due = time.monotonic() + 1.0
            self._write_state("running")
        if self.callback is not None:
            self.callback(self.steps, values)

    def _evaluate(self) -> Evaluation:
        self._require_finite_weights()
        settings = self.config.evaluation
        if self._evaluation_envs is None:
            self._evaluation_envs = make_envs(
                self.config, settings.num_envs or min(settings.episodes, self.envs.num_envs)
            )
        policy, envs = self.learner.policy, self._evaluation_envs
        played: tuple[Any, Any] = (policy, envs)
        if self.config.env.placement == "edge":
            played = (EdgePlay(envs, policy),) * 2
        result = evaluate(
            *played,
            settings.episodes,
            self.seeds.evaluation,
            self.stops.check,
        )
        self._evaluated_at = self.steps
        if result.return_mean >= self.best:
            self.best = result.return_mean
            save_checkpoint(self.folder.best, self.state_dict())
        self._record(
            {
                "eval/return_mean": result.return_mean,
                "eval/return_std": result.return_std,
                "eval/length_mean": result.length_mean,
            }
        )
        if settings.stop_at_return is not None and result.return_mean >= settings.stop_at_return:
            raise Stopped("target_return")
        return result

    def _fail(self, error: BaseException) -> None:
        """Keep what was learned, if it is sound, and say in the folder what happened."""
        self._failed = True
        self.collector.observation = None  # nobody knows what became of the episodes
        with contextlib.suppress(NotFinite):
            self._require_finite_weights()
            # Half an update is nothing to go on from, and what was saved at this step is better.
            if not self.loop.learning and (self.last_checkpoint is None or self._saved_at != self.steps):
                self.save()
            if isinstance(error, Exception):  # else somebody is in a hurry
                self._export()
        self._write_state("failed", error=f"{type(error).__name__}: {error}")
        self.folder.log(f"failed after {self.steps:,} steps: {type(error).__name__}: {error}")

    def _export(self) -> None:
        self.metrics.flush()  # the evaluations in it are told of the policy
        self._say(export_at_end(self.learner.policy, self.config, self.folder, self.steps))

    def _filmed(self) -> tuple[RunConfig, Policy, RunFolder, int]:
        return self.config, self.learner.policy, self.folder, self.seeds.evaluation

    def _paused(self, waiting: bool) -> None:
        self._say("paused: a file named `pause` is in the run folder" if waiting else "goes on")
        self._write_state("paused" if waiting else "running")

    def _write_state(self, status: str, **more: str) -> None:
        self.metrics.flush()
        self.folder.write_state(
            {
                "status": status,
                "pid": os.getpid(),
                "steps": self.steps,
                "total_steps": self.total_steps,
                "episodes": self.metrics.episode_count,
                "best": self.best if math.isfinite(self.best) else None,
                "last_checkpoint": None if self.last_checkpoint is None else self.last_checkpoint.name,
                "metrics": self._latest,
                **more,
            }
        )

    def _say(self, text: str | None) -> None:
        if text is None:
            return
        self.folder.log(text)
        self.report.say(text)


class Resumed(NamedTuple):
    """What a run goes on from: its folder, held; a checkpoint in it and that one's state, or None to begin again at
    the first step; and whether the environments are made as they were."""

    folder: RunFolder
    checkpoint: Path | None
    state: dict[str, Any] | None
    same_environments: bool


def _require_finite(values: Mapping[str, float], steps: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFinite(f"the update at step {steps} gave {name} = {value}; {_ADVICE}")
