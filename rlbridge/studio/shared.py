"""Whether what a server of this machine serves is one thing for all its sessions: a plant on the wall clock."""

from __future__ import annotations

from pathlib import Path

import yaml

from rlbridge.studio.servers import Servers

_HARDWARE = ("opcua", "modbus")


def is_shared(servers: Servers, target: str) -> bool:
    """Whether ``target`` is a server that was started here, of a plant that nobody can have two of.

    Such a plant takes one session: a second one, as an evaluation opens it while training, is refused.
    """
    folder = next((server.folder for server in servers.all() if target in server.urls), None)
    if folder is None:
        return False
    try:
        told = yaml.safe_load((Path(folder) / "serve.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    if not isinstance(told, dict):
        return False
    clock = told.get("clock")
    real_time = isinstance(clock, dict) and clock.get("real_time") is True
    return real_time or told.get("driver") in _HARDWARE or folder.rpartition("/")[2].startswith("legacy-")
