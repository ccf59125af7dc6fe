"""From a run file to a policy: ``train``, ``resume`` to go on, and ``load_run`` for what was trained earlier."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from gymnasium import Env
from gymnasium.spaces import Space, flatdim
from pydantic import TypeAdapter

from rlbridge.client import make
from rlbridge.config import AlgorithmConfig, ConfigError, NetworkConfig, RunConfig, load_config
from rlbridge.learn.checkpoint import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    load_last,
    require_like,
    set_aside,
    tidy_checkpoints,
)
from rlbridge.learn.environments import close_envs, make_envs
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.policy import Policy
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.settled import refuse_changes, refuse_other_algorithm
from rlbridge.learn.trainer import Callback, Resumed, Trainer
from rlbridge.play.encoding import is_image
from rlbridge.play.evaluate import Evaluation, evaluate
from rlbridge.play.fit import require_fit
from rlbridge.play.gif import record
from rlbridge.play.space_state import space_from_state
from rlbridge.play.stream import Tell, stream
from rlbridge.runs.folder import RunFolder

_COMPLETE = "nothing_left"


@dataclass
class Run:
    """A run that ended: its policy, its folder, and why it ended.

    ``stop_reason`` is None if the run was loaded, ``nothing_left`` if it was to be resumed and is complete.
    """

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
        config, make_one, seed = self._where(target, seed)
        if gif is not None:
            record(self.policy, make_one, seed, gif)
        envs = make_envs(config, min(episodes, config.evaluation.num_envs or config.env.num_envs))
        try:
            require_fit(self.policy, envs.single_observation_space, envs.single_action_space)
            return evaluate(self.policy, envs, episodes, seed)
        finally:
            close_envs(envs)

    def stream(
        self,
        tell: Tell,
        *,
        episodes: int | None = None,
        frames: float = 0.0,
        target: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Play deterministic episodes one after the other, and tell each as it ends: :func:`rlbridge.play.stream`.

        Args:
            tell, episodes, frames: as there.
            target, seed: as for :meth:`evaluate`.

        Raises:
            SpacesDiffer: the policy is not for that environment.
        """
        _, make_one, seed = self._where(target, seed)
        stream(self.policy, make_one, seed, tell, episodes=episodes, frames=frames)

    def _where(self, target: str | None, seed: int | None) -> tuple[RunConfig, partial[Env[Any, Any]], int]:
        config = self.config if target is None else load_config(self.config, [f"env.target={target}", "env.kwargs={}"])
        make_one = partial(make, config.env.target, **config.env.client_options())
        return config, make_one, Seeds.from_run(config.run.seed).afterwards if seed is None else seed


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


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    progress: bool | None = None,
    callback: Callback | None = None,
    baseline: tuple[str, float] | None = None,
) -> Run:
    """Go on with a run from its last whole checkpoint, in its folder: bit for bit as if it had not been interrupted.

    That needs environments whose states the checkpoint holds (local ones of plain data), or
    ``checkpoint.restart_episodes``; with others new episodes begin, and the run says so. A run that was killed before
    its first checkpoint begins again.

    Args:
        path: the run folder.
        overrides: ``section.key=value`` each, such as ``algorithm.total_steps=200_000``; they stay in ``config.yaml``.
        progress, callback, baseline: as for :func:`train`.

    Returns:
        The run; its ``stop_reason`` is ``nothing_left`` if it was complete: nothing is written then.

    Raises:
        RunFolderError: the folder is no run's, or the run still goes on.
        CheckpointError: no checkpoint is whole, or it does not suit these environments.
        ConfigError: an override is none, or would change what cannot change any more.
        NotFinite: an environment or an update gave NaN.
    """
    folder = RunFolder.open(path)
    folder.hold()
    try:
        begun = load_config(folder.config)
        refuse_other_algorithm(overrides, begun.algorithm.name)
        config = load_config(begun, overrides)
        refuse_changes(begun.model_dump(), config.model_dump())
        resumed, torn = _take_up(folder, begun, config)
        torch.set_num_threads(config.run.threads)
        if resumed.state is not None and _is_complete(resumed.state, config):
            return Run(config, _policy_of(resumed.state), folder.path, resumed.state["counters"]["steps"], _COMPLETE)
        trainer = Trainer(config, progress, callback, baseline, resumed)
        for problem in torn:
            folder.log(problem)
            print(f"rlbridge: {problem}", file=sys.stderr)
        for later in list_checkpoints(folder.checkpoints):
            if resumed.checkpoint is not None and int(later.name[5:]) > int(resumed.checkpoint.name[5:]):
                set_aside(later)
        reason = trainer.run()
    finally:
        folder.release()
    return Run(config, trainer.learner.policy, folder.path, trainer.steps, reason)


def _take_up(folder: RunFolder, begun: RunConfig, config: RunConfig) -> tuple[Resumed, list[str]]:
    """What to go on from, and what is wrong with the checkpoints after it."""
    tidy_checkpoints(folder.checkpoints, "step_*")
    tidy_checkpoints(folder.path, "best")
    if not list_checkpoints(folder.checkpoints):
        return Resumed(folder, None, None, False), []
    path, state, torn = load_last(
        folder.checkpoints, lambda state: not config.checkpoint.restart_episodes or state.get("exact") is True
    )
    try:
        name, settings = state["algorithm"]["name"], state["config"]
        if name != config.algorithm.name:
            raise CheckpointError(f"{path} is a checkpoint of {name}; the run's algorithm is {begun.algorithm.name}.")
        refuse_changes(settings, config.model_dump(mode="json"))
        int(state["counters"]["steps"]), float(state["counters"]["best"])
        same = all(settings["env"][key] == getattr(config.env, key) for key in ("target", "kwargs"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, (CheckpointError, ConfigError)):
            raise
        raise CheckpointError(f"{path} is no checkpoint of a run: {error!r}") from None
    torn = [f"{problem} Going on from {path.name}." for problem in torn]
    return Resumed(folder, path, state, same), torn


def _is_complete(state: dict[str, Any], config: RunConfig) -> bool:
    goal, counters = config.evaluation.stop_at_return, state["counters"]
    return bool(counters["steps"] >= config.algorithm.total_steps or (goal is not None and counters["best"] >= goal))


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
    try:
        return Run(config, _policy_of(state), folder.path, int(state["counters"]["steps"]))
    except CheckpointError as error:
        raise CheckpointError(f"{chosen}: {error}") from None


def _policy_of(state: dict[str, Any]) -> Policy:
    """The policy in a checkpoint.

    Raises:
        CheckpointError: it is not there, or its weights are not those of the networks that the checkpoint describes.
    """
    try:
        algorithm = TypeAdapter(AlgorithmConfig).validate_python(state["algorithm"])
        network = NetworkConfig.model_validate(state["network"])
        spaces = space_from_state(state["observation_space"]), space_from_state(state["action_space"])
        weights = state["learner"]["policy"]
        _refuse_oversized(network.shape(algorithm, is_image(spaces[0])).hidden, *spaces, weights)
        policy = Policy(algorithm, network, *spaces, Initialiser(0), seed=0)
        require_like(weights, policy.state_dict(), "policy")
        policy.load_state_dict(weights)
        policy.generator.set_state(state["learner"]["policy_generator"])
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"there is no policy in the checkpoint: {error!r}") from None
    return policy


def _refuse_oversized(hidden: list[int], observations: Space[Any], actions: Space[Any], weights: Any) -> None:
    """Build no network that the weights at hand cannot fill: whoever wrote the file may have asked for any size."""
    there = sum(tensor.numel() for tensor in weights.values())
    pixels = flatdim(observations)
    layers = [*([] if is_image(observations) else [pixels]), *hidden, flatdim(actions)]
    needed = max(sum(a * b for a, b in pairwise(layers)), flatdim(actions))
    if needed > 2 * there + 1024 or pixels > 1 << 26:
        raise CheckpointError(f"its networks would need {needed:,} weights or more; the checkpoint holds {there:,}.")
