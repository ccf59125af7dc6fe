"""Environment servers of this machine: started and stopped from a page, alive whether or not it is open.

Each is ``rlbridge serve`` in a process of its own, on loopback. What is known of it lies in files beside its output,
so that a studio that is started again finds it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rlbridge.runs.process import Detached, tail

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ServerError(ValueError):
    """The server cannot be started, or there is none of that name."""


@dataclass(frozen=True)
class EnvServer:
    """One server.

    Attributes:
        name: of its entry here.
        environment: what it serves: a Gymnasium id or a folder with a serve.yaml.
        pid, born: its process, and when that began [clock ticks since boot], since a number is used again.
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

        It listens on a free port of loopback, over gRPC and HTTP.
        """
        folder = self.catalog.get(environment)
        base = re.sub(r"[^A-Za-z0-9._]+", "-", environment).strip("-.")[:60] or "server"
        k = 1
        while (self.folder / f"{base}-{k}.json").exists():
            k += 1
        name, output = f"{base}-{k}", self.folder / f"{base}-{k}.out"
        what = str(folder) if folder else environment
        binds = ["--bind", "grpc://127.0.0.1:0", "--bind", "http://127.0.0.1:0"]
        process = Detached(["serve", what, *binds], output)
        self._started[name] = process
        facts = EnvServer(name, environment, process.pid, _born(process.pid), str(folder) if folder else None)
        self._file(name).write_text(json.dumps(asdict(facts)), encoding="utf-8")
        return name

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
        return [self.get(file.stem) for file in sorted(self.folder.glob("*.json"))]

    def get(self, name: str) -> EnvServer:
        """One server as it is now.

        Raises:
            ServerError: there is none of that name.
        """
        try:
            facts = json.loads(self._file(name).read_text(encoding="utf-8"))
            known = EnvServer(**{**facts, "urls": ()})
        except (OSError, ValueError, TypeError):
            raise ServerError(f"there is no server called {name!r}") from None
        process = self._started.get(name)
        if process is not None:
            process.exit_code  # noqa: B018  a child that has ended is seen off
        output = tail(self.folder / f"{name}.out")
        urls = tuple(re.findall(r"^serving (\S+)$", output, re.MULTILINE))
        alive = bool(known.born) and _born(known.pid) == known.born
        return EnvServer(**{**asdict(known), "urls": urls, "alive": alive, "output": output})

    def stop(self, name: str, seconds: float = 8.0) -> None:
        """End it: requests under way finish; killed if it takes longer than that."""
        server = self.get(name)
        if server.alive:
            os.kill(server.pid, signal.SIGTERM)
            end = time.monotonic() + seconds
            while self.get(name).alive and time.monotonic() < end:
                time.sleep(0.05)
            if self.get(name).alive:
                os.kill(server.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    def forget(self, name: str) -> None:
        """Take one that has ended off the list.

        Raises:
            ServerError: it has not.
        """
        if self.get(name).alive:
            raise ServerError(f"{name} is running. Stop it first.")
        self._started.pop(name, None)
        self._file(name).unlink(missing_ok=True)
        (self.folder / f"{name}.out").unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ServerError(f"{name!r} is no server's name")
        return self.folder / f"{name}.json"


def _born(pid: int) -> str:
    """When that process began; empty where there is none (or it has ended and nobody has looked)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _alive_elsewhere(pid)
    return "" if fields[0] == "Z" else fields[19]


def _alive_elsewhere(pid: int) -> str:
    """Without /proc: whether there is such a process; when it began cannot be told."""
    if Path("/proc/self/stat").exists() or os.name == "nt":
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "there"
