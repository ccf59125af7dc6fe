"""Environment servers of this machine: started and stopped from a page, alive whether or not it is open.

Each is ``rlbridge serve`` in a process of its own, on loopback. What is known of it lies in files beside its output,
so that a studio that is started again finds it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rlbridge.runs.process import Detached, born, tail

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ServerError(ValueError):
    """The server cannot be started, or there is none of that name."""


@dataclass(frozen=True)
class EnvServer:
    """One server.

    Attributes:
        name: of its entry here.
        environment: what it serves: a Gymnasium id or a folder with a serve.yaml.
        pid, born: its process, and when that began as the system says it, since a number is used again.
        folder: with the serve.yaml, where there is one.
        urls: where it answers; empty while it starts.
        alive: whether its process is there.
        output: the end of what it printed.
    """

    name: str
    environment: str
    pid: int
    born: str
    folder: str | None = None
    urls: tuple[str, ...] = ()
    alive: bool = False
    output: str = ""


class Servers:
    """The servers that were started here, in ``folder``.

    Args:
        folder: for their files; made if it is not there.
        catalog: folders with a serve.yaml that may be served, by name.
    """

    def __init__(self, folder: Path, catalog: dict[str, Path] | None = None) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.catalog = catalog or {}
        self._started: dict[str, Detached] = {}

    def start(self, environment: str) -> str:
        """Serve a registered Gymnasium id, or a folder of the catalog by its name; returns the server's name.

        It listens on a free port of loopback, over gRPC and HTTP. What else may be named is for the caller to check
        (:meth:`~rlbridge.studio.workshop.Workshop.require_target`).
        """
        folder = self.catalog.get(environment)
        base = re.sub(r"[^A-Za-z0-9._]+", "-", environment).strip("-._")[:60] or "server"
        name = self._claimed(base)
        what = str(folder) if folder else environment
        binds = ["--bind", "grpc://127.0.0.1:0", "--bind", "http://127.0.0.1:0"]
        process = Detached(["serve", what, *binds], self._output(name))
        self._started[name] = process
        facts = EnvServer(name, environment, process.pid, born(process.pid), str(folder) if folder else None)
        whole = self.folder / f"{name}.new"
        whole.write_text(json.dumps(asdict(facts)), encoding="utf-8")
        whole.replace(self._file(name))
        return name

    def _claimed(self, base: str) -> str:
        """A name that nobody has; its output's file is the claim."""
        for k in itertools.count(1):
            self._file(f"{base}-{k}")  # a server without an entry could not be stopped
            with suppress(FileExistsError):
                self._output(f"{base}-{k}").touch(exist_ok=False)
                return f"{base}-{k}"
        raise AssertionError

    def ready(self, environment: str, seconds: float) -> EnvServer:
        """A server of that environment that answers: one that is there already, or a new one.

        Raises:
            ServerError: it ended, or did not come up within ``seconds``; says what it printed.
        """
        there = [server for server in self.all() if server.environment == environment and server.alive and server.urls]
        if there:
            return there[0]
        name, end = self.start(environment), time.monotonic() + seconds
        while not (server := self.get(name)).urls:
            if not server.alive or time.monotonic() > end:
                said = server.output.strip() or f"no address within {seconds:g} s"
                raise ServerError(f"the server of {environment} did not come up: {said}")
            time.sleep(0.05)
        return server

    def all(self) -> list[EnvServer]:
        """Every server, by name; also those whose process has ended."""
        found = []
        for file in sorted(self.folder.glob("*.json")):
            with suppress(ServerError):  # forgotten meanwhile, or a file that somebody has edited
                found.append(self.get(file.name.removesuffix(".json")))
        return found

    def get(self, name: str) -> EnvServer:
        """One server as it is now.

        Raises:
            ServerError: there is none of that name.
        """
        try:
            facts = json.loads(self._file(name).read_text(encoding="utf-8"))
            known = EnvServer(**{**facts, "urls": ()})
        except (OSError, ValueError, TypeError, RecursionError):
            raise ServerError(f"there is no server called {name!r}") from None
        process = self._started.get(name)
        # A child's own end is known at once, and on every system; of others, only whether they are still there.
        alive = process.exit_code is None if process else bool(known.born) and born(known.pid) == known.born
        # The addresses are near the beginning; a server that warns a lot has pushed them out of the end.
        text, output = _head(self._output(name)), tail(self._output(name))
        urls = tuple(dict.fromkeys(re.findall(r"^serving (\S+)$", f"{text}\n{output}", re.MULTILINE)))
        return EnvServer(**{**asdict(known), "urls": urls, "alive": alive, "output": output})

    def stop(self, name: str, seconds: float = 8.0) -> None:
        """End it: requests under way finish; killed if it takes longer than that.

        Raises:
            ServerError: there is none of that name, or it cannot be ended.
        """
        server = self.get(name)
        if not server.alive:
            return
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
            if os.name != "nt":
                os.kill(server.pid, signal.SIGCONT)  # one that was halted could not make its plant safe
        if not self._ended(name, seconds):
            with suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            if not self._ended(name, 2.0):
                raise ServerError(f"{name} (process {server.pid}) does not end, not even when killed")

    def _ended(self, name: str, within: float) -> bool:
        end = time.monotonic() + within
        while self.get(name).alive:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def forget(self, name: str) -> None:
        """Take one that has ended off the list.

        Raises:
            ServerError: it has not.
        """
        if self.get(name).alive:
            raise ServerError(f"{name} is running. Stop it first.")
        self._started.pop(name, None)
        self._file(name).unlink(missing_ok=True)
        self._output(name).unlink(missing_ok=True)

    def _output(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ServerError(f"{name!r} is no server's name")
        return self.folder / f"{name}.json"


def _head(path: Path, size: int = 65_536) -> str:
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", errors="replace")
    except OSError:
        return ""
