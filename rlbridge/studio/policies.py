"""The policies that a run folder holds, by the names that ``rlbridge evaluate`` and ``export`` know them by."""

from __future__ import annotations

import re

from rlbridge.config import ConfigError
from rlbridge.runs.folder import RunFolder, RunFolderError
from rlbridge.runs.manager import Runs

FILE = "policy.onnx"
_STEP = re.compile(r"step_(\d{1,18})")


def policies_of(folder: RunFolder) -> list[str]:
    """``last`` and ``best``, the steps of the checkpoints there are, latest first, and ``policy.onnx``."""
    steps = sorted(
        (int(found[1]) for path in folder.checkpoints.glob("step_*") if (found := _STEP.fullmatch(path.name))),
        reverse=True,
    )
    best = ["best"] if (folder.best / "state.json").is_file() else []
    return [*(["last"] if steps else []), *best, *map(str, steps), *([FILE] if folder.policy.is_file() else [])]


def runs_with_policies(runs: Runs) -> dict[str, list[str]]:
    """Every run that has any, with the names of its policies."""
    found = {}
    for name in runs.names():
        try:
            policies = policies_of(runs.open(name))
        except (RunFolderError, ConfigError, OSError):  # it failed before it had a folder, or goes at this moment
            continue
        if policies:
            found[name] = policies
    return found


def evaluate_arguments(runs: Runs, name: str, policy: str, target: str | None = None) -> list[str]:
    """What ``rlbridge evaluate`` is given for a policy of the run ``name``.

    Args:
        policy: one of :func:`policies_of`.
        target: where to play; None = where the run trains.

    Raises:
        RunFolderError, ConfigError: there is no such run any more.
    """
    folder = runs.open(name)
    if policy == FILE:
        # Said, since a policy file alone would not be believed where that is code to be run; the run's settings are.
        return [str(folder.policy), f"--env={target or runs.config(name).env.target}"]
    return [str(folder.path), f"--checkpoint={policy}", *([] if target is None else [f"--env={target}"])]
