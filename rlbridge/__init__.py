"""rlbridge: reinforcement learning across the network, on environments that stay where they are.

``make`` and ``make_vec`` give Gymnasium environments, ``serve`` serves them, ``train`` trains on them, ``resume`` goes
on. Each is imported on first use, so that importing rlbridge never imports torch or grpc. It does register the
Gymnasium id ``rlbridge/Remote-v0``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rlbridge.registration import register_remote
from rlbridge.version import __version__

if TYPE_CHECKING:
    from rlbridge import errors
    from rlbridge.client import make, make_vec
    from rlbridge.learn import resume, train
    from rlbridge.server import serve

_HOMES = {
    "make": "rlbridge.client",
    "make_vec": "rlbridge.client",
    "resume": "rlbridge.learn",
    "serve": "rlbridge.server",
    "train": "rlbridge.learn",
}

register_remote()

__all__ = ["__version__", "errors", "make", "make_vec", "resume", "serve", "train"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("rlbridge.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rlbridge' has no attribute {name!r}")
