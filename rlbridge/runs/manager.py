"""The runs in one folder: starting, holding, ending, renaming and deleting them, each in a process of its own.

A run belongs to its folder and not to whoever started it: every request goes through files there (``stop``,
``pause``), and everything that is told comes from there. So it makes no difference whether the command line started a
run or a page did, nor whether that is still open.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from rlbridge.config import ConfigError, RunConfig, dump_config, load_config
from rlbridge.runs.folder import RunFolder, RunFolderError
from rlbridge.runs.lock import holder
from rlbridge.runs.process import Detached, tail
from rlbridge.runs.standing import Standing, standing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LAUNCHES = ".launches"


class Runs:
    """The run folders in ``folder``, which is made if it is not there.

    Every method that takes a ``name`` raises RunFolderError where that is no run of this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._launches = self.folder / _LAUNCHES
        self._launches.mkdir(parents=True, exist_ok=True)
        self._started: dict[str, Detached] = {}
        self._configs: dict[str, tuple[int, RunConfig]] = {}

    def names(self) -> list[str]:
        """All runs, also those that failed before they had a folder."""
        folders = [path.parent for path in self.folder.glob("*/config.yaml")]
        there = {path.name for path in folders if _NAME.fullmatch(path.name) and not path.is_symlink()}
        return sorted(there | {path.stem for path in self._launches.glob("*.yaml")})

    def path(self, name: str) -> Path:
        """Its folder, which need not be there yet. No name leads out of the folder of runs."""
        if not _NAME.fullmatch(name) or (self.folder / name).is_symlink():
            raise RunFolderError(f"{name!r} is no run's name: letters, digits, '.', '_' and '-', at most 100")
        return self.folder / name

    def open(self, name: str) -> RunFolder:
        return RunFolder.open(self.path(name))

    def standing(self, name: str) -> Standing:
        """What it is doing. Whatever somebody wrote into its folder, this says so or leaves it out."""
        path, process = self.path(name), self._started.get(name)
        exit_code = None if process is None else process.exit_code
        starting = process is not None and exit_code is None
        if (path / "config.yaml").is_file():
            now = standing(path, self._config_or_none(name))
            fresh = process is not None and now.updated >= process.began  # it has told of its own end
            if starting and not now.alive and not fresh:  # its process does not hold the folder yet
                return Standing(**{**now.__dict__, "status": "starting", "why": ""})
            return now
        if not starting and not self._draft(name).is_file():
            raise RunFolderError(f"there is no run called {name!r} in {self.folder}")
        asked = self._config_or_none(name)
        return Standing(
            name,
            "starting" if starting else "failed",
            total_steps=asked.algorithm.total_steps if asked else 0,
            target=asked.env.target if asked else "",
            algorithm=asked.algorithm.name if asked else "",
            why="" if starting else self.told(name).strip() or f"its process ended with exit code {exit_code}",
        )

    def config(self, name: str) -> RunConfig:
        """Its settings.

        Raises:
            ConfigError: its file holds none, or cannot be read.
        """
        file = self.path(name) / "config.yaml"
        file = file if file.is_file() else self._draft(name)
        try:
            changed = file.stat().st_mtime_ns
        except OSError:
            raise RunFolderError(f"there is no run called {name!r} in {self.folder}") from None
        known = self._configs.get(name)
        if known is None or known[0] != changed:  # reading YAML takes longer than all the rest that is told of a run
            try:
                known = self._configs[name] = (changed, load_config(file))
            except ConfigError:
                raise
            except (ValueError, TypeError, ArithmeticError, RecursionError) as error:  # what only an edited file holds
                raise ConfigError(f"cannot read the run file {str(file)!r}: {error}") from None
        return known[1]

    def _config_or_none(self, name: str) -> RunConfig | None:
        try:
            return self.config(name)
        except (ConfigError, RunFolderError):
            return None

    def told(self, name: str) -> str:
        """What its process printed, as far as it was started from here; at the end of that, why it failed."""
        return tail(self._output(name))

    # ------------------------------------------------------------------------------------------------------ steering

    def start(self, config: RunConfig) -> str:
        """Train, in a process of its own; returns the run's name.

        Raises:
            RunFolderError: ``run.name`` is taken.
        """
        name = config.run.name or self.free_name(config)
        if self.path(name).exists() and not config.run.overwrite:
            raise RunFolderError(f"there is a run called {name!r} already. Choose another name.")
        placed = config.run.model_copy(update={"name": name, "dir": str(self.folder)})
        draft = self._draft(name)
        draft.write_text(dump_config(config.model_copy(update={"run": placed})), encoding="utf-8")
        self.start_again(name)
        return name

    def start_again(self, name: str) -> None:
        """Start a run once more that failed before it had a folder."""
        if not self._draft(name).is_file():
            raise RunFolderError(f"there is no run called {name!r} in {self.folder}")
        self._launch(name, ["train", str(self._draft(name)), "--quiet"])

    def resume(self, name: str, overrides: Sequence[str] = ()) -> None:
        """Go on with a run that is held (paused), or whose process has ended.

        Raises:
            RunFolderError: it goes on already.
        """
        folder = self.open(name)
        now = self.standing(name)
        if now.status == "paused":
            folder.pause.unlink(missing_ok=True)
            return
        if now.alive:
            raise RunFolderError(f"{name} is {now.status}: it goes on already")
        self._launch(name, ["resume", str(folder.path), *overrides, "--quiet"])

    def pause(self, name: str) -> None:
        """Hold it before its next step, until it is resumed; its environments stay open."""
        folder = self.open(name)
        if folder.held:
            folder.pause.touch()

    def stop(self, name: str) -> None:
        """End it: before its next step it writes a checkpoint, exports its policy and leaves."""
        folder, process = RunFolder(self.path(name)), self._started.get(name)
        if folder.held:
            folder.stop.touch()
        elif process is not None:  # it has not come as far as its folder
            process.terminate()

    def kill(self, name: str) -> None:
        """End its process at once; what it did since the last checkpoint is lost. For one that does not answer.

        Raises:
            RunFolderError: the run is another machine's.
        """
        found = holder(self.path(name) / "lock")
        if found is None:
            return
        process, machine = found
        if machine != socket.gethostname():
            raise RunFolderError(f"the process of {name} runs on {machine}, not here")
        os.kill(process, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    # ---------------------------------------------------------------------------------------------------- housekeeping

    def rename(self, name: str, to: str) -> None:
        """Call it otherwise.

        Raises:
            RunFolderError: it goes on, or the new name is taken or none.
        """
        source, target = self._at_rest(name), self.path(to)
        if target.exists() or to in self.names():
            raise RunFolderError(f"there is a run called {to!r} already. Choose another name.")
        config = self.config(name)
        source.rename(target)
        RunFolder(target).write_config(
            config.model_copy(update={"run": config.run.model_copy(update={"name": to, "dir": str(self.folder)})})
        )
        self._forget(name)

    def delete(self, name: str) -> None:
        """Remove its folder with everything in it.

        Raises:
            RunFolderError: it goes on.
        """
        path = self._at_rest(name)
        if path.exists():
            gone = path.with_name(f".{name}.gone")  # at once out of sight, however long removing takes
            shutil.rmtree(gone, ignore_errors=True)
            path.rename(gone)
            shutil.rmtree(gone)
        self._forget(name)

    def disk_use(self, name: str) -> int:
        """Bytes of its files."""
        sizes = 0
        for file in self.path(name).rglob("*"):
            try:
                sizes += 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
            except OSError:  # a checkpoint that has just been dropped
                continue
        return sizes

    def free_name(self, config: RunConfig, environment: str = "") -> str:
        """``<environment>-<algorithm>-<k>`` with the first k that is free; without ``environment``, the target."""
        called = environment or config.env.target.rpartition("://")[2]
        target = re.sub(r"[^A-Za-z0-9._]+", "-", called).strip("-.")[:60] or "run"
        taken, k = set(self.names()), 1
        while (name := f"{target}-{config.algorithm.name}-{k}") in taken or (self.folder / name).exists():
            k += 1
        return name

    def _at_rest(self, name: str) -> Path:
        now = self.standing(name)
        if now.alive:
            raise RunFolderError(f"{name} is {now.status}. Stop it first.")
        return self.path(name)

    def _launch(self, name: str, arguments: Sequence[str]) -> None:
        before = self._started.get(name)
        if before is not None and before.exit_code is None:
            raise RunFolderError(f"{name} is being started already")
        self._started[name] = Detached(arguments, self._output(name))

    def _forget(self, name: str) -> None:
        self._started.pop(name, None)
        self._configs.pop(name, None)
        self._draft(name).unlink(missing_ok=True)
        self._output(name).unlink(missing_ok=True)

    def _draft(self, name: str) -> Path:
        return self._launches / f"{name}.yaml"

    def _output(self, name: str) -> Path:
        return self._launches / f"{name}.out"


def waited(runs: Runs, name: str, seconds: float, *statuses: str) -> Standing:
    """The run's standing once it is one of ``statuses``, or after ``seconds``."""
    end = time.monotonic() + seconds
    while (now := runs.standing(name)).status not in statuses and time.monotonic() < end:
        time.sleep(0.05)
    return now
