"""From a run file to a policy: ``train``, and ``load_run`` for what was trained earlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from rlbridge.client import make
from rlbridge.config import AlgorithmConfig, NetworkConfig, RunConfig, load_config
from rlbridge.learn.checkpoint import CheckpointError, list_checkpoints, load_checkpoint
from rlbridge.learn.policy import Policy
from rlbridge.learn.run_folder import RunFolder
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.trainer import Callback, Trainer, close_envs, make_envs
from rlbridge.play.evaluate import Evaluation, evaluate
from rlbridge.play.fit import require_fit
from rlbridge.play.gif import record
from rlbridge.play.space_state import space_from_state


@dataclass
class Run:
    """A run that ended: its policy, its folder, and why it ended (None if it was loaded)."""

    config: RunConfig
    policy: Policy
    dir: Path
    steps: int
    stop_reason: str | None = None

    def evaluate(
        self,
        episodes: int = 20,
        *,
        target: str | None = None,
        seed: int | None = None,
        gif: str | Path | None = None,
    ) -> Evaluation:
        """Play deterministic episodes with the policy.

        Args:
            episodes: how many.
            target: other environments than the run's own, with the same spaces.
            seed: of the environments; by default one that the run itself never used.
            gif: a file for a moving picture of the first episode, which is played once more for it.

        Raises:
            SpacesDiffer: the policy is not for those environments.
            CannotRender: they give no pictures.
        """
        config = self.config if target is None else load_config(self.config, [f"env.target={target}", "env.kwargs={}"])
        seed = Seeds.from_run(config.run.seed).afterwards if seed is None else seed
        if gif is not None:
            record(self.policy, partial(make, config.env.target, **config.env.client_options()), seed, gif)
        envs = make_envs(config, min(episodes, config.evaluation.num_envs or config.env.num_envs))
        try:
            require_fit(self.policy, envs.single_observation_space, envs.single_action_space)
            return evaluate(self.policy, envs, episodes, seed)
        finally:
            close_envs(envs)


def train(
    config: RunConfig | Mapping[str, Any] | str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    progress: bool | None = None,
    callback: Callback | None = None,
    baseline: tuple[str, float] | None = None,
) -> Run:
    """Train, as the run file (or mapping, or RunConfig) says, until the steps are done or something stops it.

    Args:
        config: a run; None is all defaults.
        overrides: ``section.key=value`` each, merged in before validation.
        progress: True = show it, False = do not, None = a bar if stderr is a terminal, else plain lines.
        callback: called after every update with the step and the metrics.
        baseline: a name and a return for the level line in the learning curve.

    Torch is left with ``run.threads`` threads for the whole process: the policy's calls afterwards, too, are
    small, and on a busy machine a second thread can make each a hundred times slower.

    Returns:
        The run, with the policy as it was at the end. ``stop_reason`` is ``SIGINT`` or ``SIGTERM`` where a signal
        ended it: no exception then, since the run folder is complete.

    Raises:
        ConfigError, UnsupportedSpace, RunFolderError: before anything starts.
        NotFinite: an environment or an update gave NaN.
    """
    resolved = load_config(config, overrides)
    torch.set_num_threads(resolved.run.threads)
    trainer = Trainer(resolved, progress, callback, baseline)
    reason = trainer.run()
    return Run(resolved, trainer.learner.policy, trainer.folder.path, trainer.steps, reason)


def load_run(path: str | Path, which: str | int = "last") -> Run:
    """A run from its folder; needs no environment.

    Args:
        path: the run folder.
        which: ``last``, ``best``, or the step of a checkpoint that was kept.

    Raises:
        RunFolderError: the folder is no run's. CheckpointError: no such checkpoint, or it is torn.
    """
    folder = RunFolder.open(path)
    config = load_config(folder.config)
    torch.set_num_threads(config.run.threads)
    kept = list_checkpoints(folder.checkpoints)
    if which == "best":
        chosen = folder.best
    elif which == "last":
        if not kept:
            raise CheckpointError(f"{folder.checkpoints} holds no checkpoint.")
        chosen = kept[-1]
    else:
        chosen = folder.checkpoints / f"step_{which}"
    state = load_checkpoint(chosen)
    policy = Policy(
        TypeAdapter(AlgorithmConfig).validate_python(state["algorithm"]),
        NetworkConfig.model_validate(state["network"]),
        space_from_state(state["observation_space"]),
        space_from_state(state["action_space"]),
        torch.Generator(),
        seed=0,
    )
    policy.load_state_dict(state["learner"]["policy"])
    policy.generator.set_state(state["learner"]["policy_generator"])
    return Run(config, policy, folder.path, state["counters"]["steps"])
