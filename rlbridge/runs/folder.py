"""The folder ``runs/<name>/`` that a run leaves behind, and the names of everything in it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from rlbridge.config import RunConfig, dump_config
from rlbridge.runs.lock import Locked, RunLock, held


class RunFolderError(ValueError):
    """The run folder cannot be made or is none; says what to do."""


class RunFolder:
    """Paths of one run, and its small files: config, environment, state, log.

    ``config.yaml`` · ``environment.json`` · ``metrics.jsonl`` · ``episodes.csv`` · ``tensorboard/`` ·
    ``checkpoints/step_<n>/`` · ``best/`` · ``policy.onnx`` · ``policy.json`` · ``curve.png`` · ``before.gif`` and
    ``after.gif`` (if asked for) · ``log.txt`` · ``state.json`` · ``stop`` and ``pause`` (if touched) ·
    ``lock`` while a process writes to the folder.
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
        self.pause = path / "pause"
        self._lock: RunLock | None = None

    @classmethod
    def create(cls, config: RunConfig) -> RunFolder:
        """Make the folder of a new run, hold it, and write its ``config.yaml``.

        Raises:
            RunFolderError: the name is taken and ``run.overwrite`` is false, or a process writes to that folder.
        """
        folder = cls(_new_path(config))
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.hold()
        try:
            folder._empty(config.run.overwrite)
            folder.write_config(config)
            folder.checkpoints.mkdir()
        except BaseException:
            folder.release()
            raise
        return folder

    def _empty(self, overwrite: bool) -> None:
        drafts = ("lock", _draft_of(self.config).name)  # what a run that was killed at once leaves
        contents = [path for path in self.path.iterdir() if path.name not in drafts]
        if not contents:
            return
        if not overwrite:
            raise RunFolderError(
                f"{self.path} already exists. Choose another run.name, delete it, go on with it (rlbridge resume), or "
                "set run.overwrite=true."
            )
        if not self.config.exists():
            raise RunFolderError(f"{self.path} exists and is no run (it has no config.yaml); it is not overwritten.")
        for path in sorted(contents, key=lambda path: path == self.config):  # without that it would be no run's
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def hold(self) -> None:
        """Keep other processes from writing to this folder, until :meth:`release`.

        Raises:
            RunFolderError: another one does already, or the file system knows no locks.
        """
        try:
            self._lock = RunLock(self.path / "lock")
        except Locked as error:
            raise RunFolderError(
                f"{self.path} is in use by {error}: the run still goes on. Wait for it, or end it (a file named `stop` "
                "in the folder does)."
            ) from None
        except OSError as error:
            raise RunFolderError(
                f"{self.path} cannot be locked against other processes ({error}). Set run.dir to a folder on a local "
                "disk that this user may write to."
            ) from None

    @property
    def held(self) -> bool:
        """Whether a process writes to this folder now: the run goes on."""
        return held(self.path / "lock")

    def release(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.release()

    def take_up(self, config: RunConfig) -> None:
        """Prepare the folder of an earlier run, held, for going on with ``config``."""
        self.checkpoints.mkdir(exist_ok=True)
        self.stop.unlink(missing_ok=True)
        self.pause.unlink(missing_ok=True)
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Replace ``config.yaml`` in one move."""
        draft = _draft_of(self.config)
        draft.write_text(dump_config(config), encoding="utf-8")
        os.replace(draft, self.config)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of an earlier run.

        Raises:
            RunFolderError: there is no ``config.yaml`` in it.
        """
        folder = cls(Path(path))
        if not folder.config.is_file():
            within = sorted(config.parent for config in folder.path.glob("*/config.yaml"))
            meant = f" Run folders in it: {', '.join(map(str, within[:8]))}." if within else ""
            what = "it has no config.yaml" if folder.path.exists() else "there is nothing of that name"
            raise RunFolderError(f"{path} is no run folder: {what}.{meant}")
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


def cut_back(path: Path, size: int, keep: Callable[[bytes], bool]) -> None:
    """Shorten a file of lines to its first ``size`` bytes.

    If that is not where a line ends (somebody has edited the file), leave only the lines that ``keep`` holds for;
    those that it cannot read go.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.seek(max(size - 1, 0))
        if size <= 0 or file.read(1) == b"\n":
            file.truncate(max(size, 0))
            return
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n") and _holds(keep, line)]
    draft = _draft_of(path)
    draft.write_bytes(b"".join(kept))
    os.replace(draft, path)


def _holds(keep: Callable[[bytes], bool], line: bytes) -> bool:
    try:
        return keep(line)
    except (ValueError, KeyError, TypeError):
        return False


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft")


def _new_path(config: RunConfig) -> Path:
    """``<dir>/<name>``; without a name ``<dir>/<target>-<algorithm>-<k>``, made with the first k that is free."""
    if config.run.name:
        return Path(config.run.dir) / config.run.name
    target = re.sub(r"[^A-Za-z0-9._]+", "-", config.env.target.rpartition("://")[2]).strip("-.") or "run"
    k = 0
    while True:
        k += 1
        path = Path(config.run.dir) / f"{target}-{config.algorithm.name}-{k}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
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
