"""The trainer knows time: when to collect, update, evaluate, checkpoint, report and stop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from rlbridge.client import Unsupported, make_vec
from rlbridge.config import RunConfig
from rlbridge.learn.checkpoint import prune_checkpoints, save_checkpoint
from rlbridge.learn.collect import NotFinite, StepCollector
from rlbridge.learn.curve import draw_curve
from rlbridge.learn.evaluate import Evaluation, evaluate
from rlbridge.learn.metrics import Metrics
from rlbridge.learn.ppo import PPO
from rlbridge.learn.progress import ProgressReport
from rlbridge.learn.run_folder import RunFolder
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.space_state import space_to_state
from rlbridge.learn.stops import Stopped, Stops

Callback = Callable[[int, Mapping[str, float]], None]
"""Called after every update with the step and its metrics; raising :class:`Stopped` in it ends the run cleanly."""


class Trainer:
    """One run, from its first step to its last.

    Args:
        config: the run.
        progress: True = show it, False = do not, None = a bar if stderr is a terminal, else plain lines.
        callback: see :data:`Callback`.
        baseline: a name and a return for the level line in the learning curve.

    Raises:
        UnsupportedSpace, RunFolderError: before anything is stepped or written.
    """

    def __init__(
        self,
        config: RunConfig,
        progress: bool | None = None,
        callback: Callback | None = None,
        baseline: tuple[str, float] | None = None,
    ) -> None:
        self.config, self.callback, self.baseline = config, callback, baseline
        self.seeds = Seeds.from_run(config.run.seed)
        self.envs = make_envs(config, config.env.num_envs)
        try:
            self.learner = PPO(
                config.algorithm,
                config.network,
                self.envs.single_observation_space,
                self.envs.single_action_space,
                config.env.num_envs,
                (self.seeds.weights, self.seeds.actions, self.seeds.minibatches),
                torch.device("cpu" if config.run.device == "auto" else config.run.device),
            )
            self.collector = StepCollector(self.envs, self.learner.policy, self.seeds.environments)
            self.folder = RunFolder.create(config)
            self.folder.write_environment(self.envs)
        except BaseException:
            self.envs.close()
            raise
        self.metrics = Metrics(self.folder, config.run.tensorboard)
        self.report = ProgressReport(config.algorithm.total_steps, progress)
        self.stops = Stops(self.folder.stop, config.run.max_seconds)
        self.steps = 0
        self.best = -math.inf
        self.last_checkpoint: Path | None = None
        self._evaluation_envs: VectorEnv[Any, Any, Any] | None = None
        self._evaluated_at = self._saved_at = 0
        self._latest: dict[str, float] = {}
        self._state_due = 0.0

    def run(self) -> str:
        """Train until something says stop; returns what: ``total_steps``, ``target_return``, ``wall_time``,
        ``stop_file``, ``SIGINT`` or ``SIGTERM``. The run folder is then complete and the environments are closed.

        Raises:
            NotFinite: an environment or an update gave NaN; names the step, the row and the last checkpoint.
        """
        self._say(f"run folder {self.folder.path}")
        try:
            with self.stops, self.report:
                try:
                    self._on_policy()
                    reason = "total_steps"
                except Stopped as stop:
                    reason = stop.reason
                self.save()
            self._write_state("stopped" if reason.startswith("SIG") else "finished", reason=reason)
            self._say(f"ended by {reason} after {self.steps:,} steps; last checkpoint {self.last_checkpoint}")
            return reason
        except BaseException as error:
            self._fail(error)
            if isinstance(error, NotFinite):
                raise NotFinite(f"{error} Last checkpoint: {self.last_checkpoint or 'none'}.") from None
            raise
        finally:
            self.metrics.close()
            draw_curve(self.folder, f"{self.config.algorithm.name} on {self.config.env.target}", self.baseline)
            self.envs.close()
            if self._evaluation_envs is not None:
                self._evaluation_envs.close()

    def save(self) -> Path:
        """Write ``checkpoints/step_<n>``, unless it is there already, and drop the oldest."""
        if self.last_checkpoint is None or self._saved_at != self.steps:
            path = self.folder.checkpoints / f"step_{self.steps}"
            self.last_checkpoint = save_checkpoint(path, self.state_dict())
            self._saved_at = self.steps
            prune_checkpoints(self.folder.checkpoints, self.config.checkpoint.keep)
        return self.last_checkpoint

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, but for the environments' own states."""
        return {
            "algorithm": self.config.algorithm.name,
            "network": self.config.network.model_dump(),
            "observation_space": space_to_state(self.envs.single_observation_space),
            "action_space": space_to_state(self.envs.single_action_space),
            "learner": self.learner.state_dict(),
            "metrics": self.metrics.state_dict(),
            "counters": {"steps": self.steps, "dropped": self.collector.dropped, "best": self.best},
        }

    def _on_policy(self) -> None:
        total = self.config.algorithm.total_steps
        rollout = self.learner.rollout(self.envs.num_envs)
        started = time.monotonic()
        while self.steps < total:
            self.collector.collect(rollout, self.stops.check)
            update = self.learner.update(rollout, self.steps / total)
            self.steps = self.collector.transitions
            _require_finite(update, self.steps)
            self.metrics.add_episodes(self.collector.take_episodes())
            speed = {"time/fps": self.steps / (time.monotonic() - started), "time/total_steps": float(self.steps)}
            dropped = {"rollout/dropped": float(self.collector.dropped)}
            bridge = self.envs.bridge_metrics() if hasattr(self.envs, "bridge_metrics") else {}
            self._record({**self.metrics.episode_means(), **speed, **dropped, **bridge, **update})
            done = self.steps >= total
            if _due(self.config.evaluation.every, self._evaluated_at, self.steps, done):
                self._evaluate()
            if _due(self.config.checkpoint.every, self._saved_at, self.steps, False):
                self.save()

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
        settings = self.config.evaluation
        if self._evaluation_envs is None:
            self._evaluation_envs = make_envs(
                self.config, settings.num_envs or min(settings.episodes, self.envs.num_envs)
            )
        result = evaluate(
            self.learner.policy,
            self._evaluation_envs,
            settings.episodes,
            self.seeds.evaluation,
            self.stops.check,
        )
        self._evaluated_at = self.steps
        self._record(
            {
                "eval/return_mean": result.return_mean,
                "eval/return_std": result.return_std,
                "eval/length_mean": result.length_mean,
            }
        )
        if result.return_mean >= self.best:
            self.best = result.return_mean
            save_checkpoint(self.folder.best, self.state_dict())
        if settings.stop_at_return is not None and result.return_mean >= settings.stop_at_return:
            raise Stopped("target_return")
        return result

    def _fail(self, error: BaseException) -> None:
        """Keep what was learned, if it is sound, and say in the folder what happened."""
        if all(bool(parameter.isfinite().all()) for parameter in self.learner.policy.parameters()):
            self.save()
        self._write_state("failed", error=f"{type(error).__name__}: {error}")
        self.folder.log(f"failed after {self.steps:,} steps: {type(error).__name__}: {error}")

    def _write_state(self, status: str, **more: str) -> None:
        self.metrics.flush()
        self.folder.write_state(
            {
                "status": status,
                "pid": os.getpid(),
                "steps": self.steps,
                "total_steps": self.config.algorithm.total_steps,
                "episodes": self.metrics.episode_count,
                "best": self.best if math.isfinite(self.best) else None,
                "last_checkpoint": None if self.last_checkpoint is None else self.last_checkpoint.name,
                "metrics": self._latest,
                **more,
            }
        )

    def _say(self, text: str) -> None:
        self.folder.log(text)
        self.report.say(text)


def make_envs(config: RunConfig, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """``num_envs`` of the run's environments, SAME_STEP where they can (it wastes no step on a reset)."""
    target, options = config.env.target, config.env.client_options()
    try:
        return make_vec(target, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    except Unsupported:  # a server's native batch has one mode of its own
        return make_vec(target, num_envs, autoreset_mode=None, **options)


def _due(every: int, last: int, steps: int, done: bool) -> bool:
    """Whether a multiple of ``every`` was passed since ``last``; at the end, whether there was any step since."""
    return every > 0 and (steps // every > last // every or (done and steps > last))


def _require_finite(values: Mapping[str, float], steps: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFinite(
                f"the update at step {steps} gave {name} = {value}; a smaller learning_rate or max_gradient_norm, "
                "or normalise_rewards and normalise_observations, may help."
            )
