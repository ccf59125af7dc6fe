"""The processes that were started for runs: what each was given, what it printed, and whether it is still there."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rlbridge.runs.folder import RunFolderError
from rlbridge.runs.lock import Locked, RunLock
from rlbridge.runs.process import Detached, born, tail


@dataclass(frozen=True)
class Launch:
    """The last process of one run.

    Attributes:
        pid, machine: of the process.
        born: when it began as the system says it, since a number is used again; empty where the system does not say.
        began: when it was started [s of the system's clock].
        alive: whether it is there.
        exit_code: None while it is there, and where somebody else started it.
    """

    pid: int
    machine: str
    born: str
    began: float
    alive: bool = True
    exit_code: int | None = None


class Launches:
    """Processes that were started for runs, in ``folder``, which is made if it is not there.

    What is known of each lies there in files, so that whoever looks at the same runs knows of it, too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._started: dict[str, Detached] = {}

    def names(self) -> set[str]:
        """The runs that something was started for, and of which settings are left here."""
        return {path.stem for path in self._folder.glob("*.yaml")}

    def start(self, name: str, arguments: Sequence[str], settings: str | None, seconds: float) -> None:
        """Start ``rlbridge ARGUMENTS`` for the run ``name``, with ``settings`` in its :meth:`draft` if there are any.

        Raises:
            RunFolderError: one is being started for it already, here or elsewhere, or has not left within ``seconds``.
        """
        underway = RunFolderError(f"{name} is being started already")
        try:
            claim = RunLock(self._folder / f"{name}.lock")  # or a draft could be replaced before it is read
        except Locked:
            raise underway from None
        try:
            until = time.monotonic() + seconds
            while (before := self.last(name)) is not None and before.alive:
                if time.monotonic() >= until:
                    raise underway
                time.sleep(0.05)
            if settings is not None:
                self.draft(name).write_text(settings, encoding="utf-8")
            process = self._started[name] = Detached(arguments, self._output(name))
            facts = Launch(process.pid, socket.gethostname(), born(process.pid), process.began)
            whole = self._folder / f"{name}.new"
            whole.write_text(json.dumps(asdict(facts)), encoding="utf-8")
            whole.replace(self._file(name))
        finally:
            claim.release()

    def last(self, name: str) -> Launch | None:
        """The process that was started last for that run; None if none is known of."""
        process, told = self._started.get(name), self._told(name)
        if process is not None and (told is None or told.pid == process.pid):  # a child's own end is known at once
            known = told or Launch(process.pid, socket.gethostname(), "", process.began)
            return Launch(**{**asdict(known), "alive": process.exit_code is None, "exit_code": process.exit_code})
        if told is None:
            return None
        here = told.machine == socket.gethostname()
        return Launch(**{**asdict(told), "alive": here and bool(told.born) and born(told.pid) == told.born})

    def end(self, name: str, at_once: bool = False) -> None:
        """Ask the last process of that run to end (SIGTERM), or end it (SIGKILL)."""
        launch = self.last(name)
        if launch is None or not launch.alive:
            return
        with suppress(ProcessLookupError):
            os.kill(launch.pid, signal.SIGKILL if at_once and os.name != "nt" else signal.SIGTERM)

    def printed(self, name: str) -> str:
        """The end of what its last process printed."""
        return tail(self._output(name))

    def forget(self, name: str) -> None:
        """Remove what is known of that run."""
        self._started.pop(name, None)
        for file in (self.draft(name), self._output(name), self._file(name)):
            file.unlink(missing_ok=True)

    def draft(self, name: str) -> Path:
        """The settings that a new run is started with."""
        return self._folder / f"{name}.yaml"

    def _output(self, name: str) -> Path:
        return self._folder / f"{name}.out"

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _told(self, name: str) -> Launch | None:
        try:
            facts = json.loads(self._file(name).read_text(encoding="utf-8"))
            launch = Launch(int(facts["pid"]), str(facts["machine"]), str(facts["born"]), float(facts["began"]))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        # No process has the number 0: a signal to it would go to ourselves. Nobody has started one in the future.
        return launch if launch.pid > 0 and launch.began <= time.time() + 60.0 else None
