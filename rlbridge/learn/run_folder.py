"""The folder ``runs/<name>/`` that a run leaves behind, and the names of everything in it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from rlbridge.config import RunConfig, dump_config


class RunFolderError(ValueError):
    """The run folder cannot be made or is none; says what to do."""


class RunFolder:
    """Paths of one run, and its small files: config, environment, state, log.

    ``config.yaml`` · ``environment.json`` · ``metrics.jsonl`` · ``episodes.csv`` · ``tensorboard/`` ·
    ``checkpoints/step_<n>/`` · ``best/`` · ``policy.onnx`` · ``policy.json`` · ``curve.png`` · ``before.gif`` and
    ``after.gif`` (if asked for) · ``log.txt`` · ``state.json`` · ``stop`` (if touched).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.episodes = path / "episodes.csv"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best"
        self.curve = path / "curve.png"
        self.policy = path / "policy.onnx"
        self.before = path / "before.gif"
        self.after = path / "after.gif"
        self.log_file = path / "log.txt"
        self.state = path / "state.json"
        self.stop = path / "stop"

    @classmethod
    def create(cls, config: RunConfig) -> RunFolder:
        """Make the folder of a new run and write its ``config.yaml``.

        Raises:
            RunFolderError: the name is taken and ``run.overwrite`` is false.
        """
        path = Path(config.run.dir) / config.run.name if config.run.name else _free_name(config)
        folder = cls(path)
        if path.exists() and any(path.iterdir()):
            if not config.run.overwrite:
                raise RunFolderError(
                    f"{path} already exists. Choose another run.name, delete it, or set run.overwrite=true."
                )
            if not folder.config.exists():
                raise RunFolderError(f"{path} exists and is no run (it has no config.yaml); it is not overwritten.")
            shutil.rmtree(path)
        folder.checkpoints.mkdir(parents=True)
        folder.config.write_text(dump_config(config), encoding="utf-8")
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of an earlier run.

        Raises:
            RunFolderError: there is no ``config.yaml`` in it.
        """
        folder = cls(Path(path))
        if not folder.config.is_file():
            raise RunFolderError(f"{path} is no run folder: it has no config.yaml.")
        return folder

    def write_environment(self, envs: Any) -> None:
        """What the run ran with: versions, spaces, machine, git commit."""
        facts = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": _versions("rlbridge-toolkit", "torch", "numpy", "gymnasium", "grpcio"),
            "git": _git_commit(),
            "observation_space": str(envs.single_observation_space),
            "action_space": str(envs.single_action_space),
            "num_envs": envs.num_envs,
            "autoreset_mode": str(envs.metadata.get("autoreset_mode")),
        }
        self.environment.write_text(json.dumps(facts, indent=2), encoding="utf-8")

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``state.json`` in one move, so that who watches it never reads half of it."""
        draft = self.state.with_suffix(".draft")
        draft.write_text(json.dumps({**state, "updated": time.time()}), encoding="utf-8")
        os.replace(draft, self.state)

    def log(self, text: str) -> None:
        """Append a line with the time to ``log.txt``."""
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")


def _free_name(config: RunConfig) -> Path:
    """``<dir>/<target>-<algorithm>-<k>`` with the first k that is free."""
    target = re.sub(r"[^A-Za-z0-9._]+", "-", config.env.target.rpartition("://")[2]).strip("-.") or "run"
    taken, k = True, 0
    while taken:
        k += 1
        path = Path(config.run.dir) / f"{target}-{config.algorithm.name}-{k}"
        taken = path.exists()
    return path


def _versions(*names: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _git_commit() -> str | None:
    """The commit of the working directory, with ``+changes`` if there are any; None outside git."""
    try:
        ask = {"capture_output": True, "text": True, "timeout": 5, "check": True}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()  # type: ignore[call-overload]
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], **ask).stdout  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}{'+changes' if dirty else ''}"
