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
from contextlib import suppress
from pathlib import Path

from rlbridge.config import ConfigError, RunConfig, dump_config, load_config
from rlbridge.runs.folder import RunFolder, RunFolderError
from rlbridge.runs.launches import Launches
from rlbridge.runs.lock import holder
from rlbridge.runs.standing import Standing, standing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LAUNCHES = ".launches"
_LEAVING_SECONDS = 10.0  # torch takes its time


class Runs:
    """The run folders in ``folder``, which is made if it is not there.

    Every method that takes a ``name`` raises RunFolderError where that is no run of this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._launches = Launches(self.folder / _LAUNCHES)
        self._configs: dict[str, tuple[int, RunConfig]] = {}

    def names(self) -> list[str]:
        """All runs, also those that failed before they had a folder."""
        folders = [path.parent for path in self.folder.glob("*/config.yaml")]
        there = {path.name for path in folders if _NAME.fullmatch(path.name) and not path.is_symlink()}
        return sorted(there | self._launches.names())

    def path(self, name: str) -> Path:
        """Its folder, which need not be there yet. No name leads out of the folder of runs."""
        if not _NAME.fullmatch(name) or (self.folder / name).is_symlink():
            raise RunFolderError(f"{name!r} is no run's name: letters, digits, '.', '_' and '-', at most 100")
        return self.folder / name

    def open(self, name: str) -> RunFolder:
        return RunFolder.open(self.path(name))

    def standing(self, name: str) -> Standing:
        """What it is doing. Whatever somebody wrote into its folder, this says so or leaves it out."""
        path, launch = self.path(name), self._launches.last(name)
        starting = launch is not None and launch.alive
        if (path / "config.yaml").is_file():
            now = standing(path, self._config_or_none(name))
            fresh = launch is not None and now.updated >= launch.began  # it has told of its own end
            if starting and not now.alive and not fresh:  # its process does not hold the folder yet
                return Standing(**{**now.__dict__, "status": "starting", "why": ""})
            return now
        if not starting and not self._launches.draft(name).is_file():
            raise RunFolderError(f"there is no run called {name!r} in {self.folder}")
        asked = self._config_or_none(name)
        return Standing(
            name,
            "starting" if starting else "failed",
            total_steps=asked.algorithm.total_steps if asked else 0,
            target=asked.env.target if asked else "",
            algorithm=asked.algorithm.name if asked else "",
            why="" if starting else self.told(name).strip() or _ended_with(launch.exit_code if launch else None),
        )

    def config(self, name: str) -> RunConfig:
        """Its settings.

        Raises:
            ConfigError: its file holds none, or cannot be read.
        """
        file = self.path(name) / "config.yaml"
        if file.is_symlink():
            raise ConfigError(f"{file} is a link; the settings of a run are in its own folder")
        file = file if file.is_file() else self._launches.draft(name)
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
        """What its process printed, as far as a page started it; at the end of that, why it failed."""
        return self._launches.printed(name)

    # ------------------------------------------------------------------------------------------------------ steering

    def start(self, config: RunConfig) -> str:
        """Train, in a process of its own; returns the run's name.

        Raises:
            RunFolderError: ``run.name`` is taken, or being started.
        """
        name = config.run.name or self.free_name(config)
        if self.path(name).exists() and not config.run.overwrite:
            raise RunFolderError(f"there is a run called {name!r} already. Choose another name.")
        placed = config.run.model_copy(update={"name": name, "dir": str(self.folder)})
        settings = dump_config(config.model_copy(update={"run": placed}))
        self._launch(name, self._training(name), settings)
        return name

    def start_again(self, name: str) -> None:
        """Start a run once more that failed before it had a folder."""
        self.path(name)
        if not self._launches.draft(name).is_file():
            raise RunFolderError(f"there is no run called {name!r} in {self.folder}")
        self._launch(name, self._training(name))

    def resume(self, name: str, overrides: Sequence[str] = ()) -> None:
        """Go on with a run that is held (paused), or whose process has ended.

        Raises:
            RunFolderError: it goes on already, and nobody has asked it to pause.
        """
        folder = self.open(name)
        now = self.standing(name)
        # Who takes a request to pause back at once is not told "paused" yet.
        if now.status == "paused" or (now.alive and folder.pause.exists()):
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
        folder = RunFolder(self.path(name))
        if folder.held:
            folder.stop.touch()
        else:  # it has not come as far as its folder
            self._launches.end(name)

    def kill(self, name: str) -> None:
        """End its process at once; what it did since the last checkpoint is lost. For one that does not answer.

        Raises:
            RunFolderError: the run is another machine's.
        """
        found = holder(self.path(name) / "lock")
        if found is None:  # it has not come as far as its folder
            self._launches.end(name, at_once=True)
            return
        process, machine = found
        if machine != socket.gethostname():
            raise RunFolderError(f"the process of {name} runs on {machine}, not here")
        with suppress(ProcessLookupError):  # it has ended meanwhile
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

    def _training(self, name: str) -> list[str]:
        return ["train", str(self._launches.draft(name)), "--quiet"]

    def _launch(self, name: str, arguments: Sequence[str], settings: str | None = None) -> None:
        known = name in self.names()
        leaving = known and not self.standing(name).alive  # if its process is there, it has told of its end
        self._launches.start(name, arguments, settings, _LEAVING_SECONDS if leaving else 0.0)

    def _forget(self, name: str) -> None:
        self._configs.pop(name, None)
        self._launches.forget(name)


def waited(runs: Runs, name: str, seconds: float, *statuses: str) -> Standing:
    """The run's standing once it is one of ``statuses``, or after ``seconds``."""
    end = time.monotonic() + seconds
    while (now := runs.standing(name)).status not in statuses and time.monotonic() < end:
        time.sleep(0.05)
    return now


def _ended_with(exit_code: int | None) -> str:
    return "its process has ended" if exit_code is None else f"its process ended with exit code {exit_code}"
