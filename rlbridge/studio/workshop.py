"""What all pages share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium

from rlbridge.config import ConfigError, CredentialsConfig, RunConfig
from rlbridge.runs.manager import Runs
from rlbridge.studio.curves import Curves
from rlbridge.studio.servers import Servers
from rlbridge.studio.sizes import Sizes

REMOTE = ("grpc://", "grpcs://", "http://", "https://", "unix://", "shm://")


# Environments that are made of what their arguments name: a server, or any module's.
_BY_THEIR_ARGUMENTS = ("rlbridge/", "GymV2")


class TargetRefused(ValueError):
    """What was typed is nothing that the studio opens; says what is."""


@dataclass
class Workshop:
    """The folder of runs, the servers of this machine, and what may be named as an environment.

    Attributes:
        runs: the run folders; nothing outside their folder is read or written for a page.
        servers: environment servers that the studio started.
        targets: ``module:factory`` and ``file.py:factory`` names that whoever started the studio allows. Pages may
            name no other: such a name is code that would be run.
    """

    runs: Runs
    servers: Servers
    targets: list[str] = field(default_factory=list)
    curves: Curves = field(default_factory=Curves)
    slow: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16, "studio-slow"))
    """For what may take long, or hang: it must not keep a stop, or a page, waiting."""
    sizes: Sizes = field(default_factory=Sizes)

    def require_target(self, target: str) -> str:
        """The target, if pages may name it.

        Raises:
            TargetRefused: it is neither a server, nor a registered Gymnasium id, nor allowed.
        """
        target = target.strip()
        if target.startswith(REMOTE) or target in self.targets:
            return target
        if target in gymnasium.registry and not target.startswith(_BY_THEIR_ARGUMENTS):
            return target
        if re.fullmatch(r"[\w.-]+:[0-9]+(/.*)?", target) or "://" in target:
            raise TargetRefused(
                f"{target!r} does not say how to speak to it: write grpc://, grpcs://, http://, https://, unix:// or "
                "shm:// before the address."
            )
        if ":" in target:
            raise TargetRefused(
                f"{target!r} names code, which no page may have run. Start the studio with --target {target}, or serve "
                "it (rlbridge serve) and name the server."
            )
        raise TargetRefused(f"{target!r} is no registered Gymnasium environment, and no server's address.")

    def require_run(self, name: str) -> None:
        """Refuse to have a run played or gone on with whose folder names code that was not allowed.

        Raises:
            TargetRefused: its target is such a name. RunFolderError, ConfigError: there is no such run.
        """
        self.require_target(self.runs.config(name).env.target)

    def require_harmless(self, config: RunConfig) -> None:
        """Refuse settings that name files of this machine.

        Raises:
            ConfigError: credentials' files, or arguments of an environment that read like paths.
        """
        if config.env.credentials != CredentialsConfig():
            raise ConfigError(
                "env.credentials name files, which no page may have read. Start the studio with RLBRIDGE_TOKEN and "
                "RLBRIDGE_TLS_* set instead: its runs inherit them."
            )
        try:
            kwargs = json.loads(json.dumps(config.env.kwargs))
        except (TypeError, ValueError):
            raise ConfigError(
                "env.kwargs hold what no run file can: numbers, texts, lists and mappings only."
            ) from None
        if any(sign in text for text in _texts(kwargs) for sign in "/\\:"):
            raise ConfigError(f"env.kwargs = {config.env.kwargs}: no page may name paths or code of this machine.")

    def local_targets(self) -> list[str]:
        """Registered Gymnasium ids that are likely to run here, newest versions only, and what was allowed."""
        newest: dict[str, tuple[int, str]] = {}
        for name, spec in gymnasium.registry.items():
            if "/" not in name and "mujoco" not in str(spec.entry_point):
                newest[spec.name] = max(newest.get(spec.name, (-1, "")), (spec.version or 0, name))
        return [*self.targets, *sorted(name for _, name in newest.values())]


def ask(arguments: list[str], timeout: float) -> tuple[int, str, str]:
    """``rlbridge ARGUMENTS``, at most that many seconds: exit code, stdout, stderr (124 where it took longer)."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rlbridge", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout:g} s"
    return done.returncode, done.stdout, done.stderr


def _texts(value: Any) -> Iterator[str]:
    """Every text in a tree."""
    if isinstance(value, dict):
        for pair in value.items():
            yield from _texts(list(pair))
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, str):
        yield value


def folder_of_servers(path: Path | None) -> dict[str, Path]:
    """The folders in ``path`` that hold a serve.yaml, by name."""
    if path is None or not path.is_dir():
        return {}
    return {file.parent.name: file.parent for file in sorted(path.glob("*/serve.yaml"))}
