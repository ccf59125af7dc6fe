"""A first-generation HTTP server as something to serve on: a folder with a serve.yaml that names the driver."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml

_FACTORY = "rlbridge.plants.drivers.legacy_http:LegacyHttpEnv"
_LONGEST_HOST = 253  # DNS has no longer ones


class LegacyRefused(ValueError):
    """What was typed does not describe such a server."""


def describe_legacy(folder: Path, url: str, initial_state: str, actions: str) -> tuple[str, Path]:
    """Write the folder; returns a name for it, and its path. Other arguments make another name.

    Args:
        folder: to put it in.
        url: of the server, ``http://host:port/path``.
        initial_state: what it begins with, numbers with commas between: its wire has no reset.
        actions: how many there are, 0, 1, ...

    Raises:
        LegacyRefused: they are none; says which.
    """
    host = _host(url.strip())
    if host is None:
        raise LegacyRefused(f"{url!r} is no address such as http://127.0.0.1:8000/")
    try:
        state = [float(number) for number in initial_state.split(",")]
    except ValueError:
        state = []
    if not state or not all(map(math.isfinite, state)):
        raise LegacyRefused(f"{initial_state!r} is no list of numbers such as 0, 0, 0, 0")
    if not re.fullmatch(r"[0-9]{1,6}", actions.strip()) or int(actions) < 2:
        raise LegacyRefused(f"{actions!r} is no number of actions: a whole number, at least 2")
    kwargs = {"url": url.strip(), "initial_state": state, "actions": int(actions)}
    # A server that was started with other arguments must not be taken for this one.
    told_apart = hashlib.sha256(json.dumps(kwargs).encode()).hexdigest()[:8]
    name = f"legacy-{re.sub(r'[^A-Za-z0-9]+', '-', host).strip('-')[:40]}-{told_apart}"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    told = {"name": name, "env": _FACTORY, "kwargs": kwargs}
    (place / "serve.yaml").write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return name, place


def _host(url: str) -> str | None:
    """``host:port`` of an HTTP address; None where it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or len(host) > _LONGEST_HOST:
        return None
    return f"{host}:{port}" if port else host
