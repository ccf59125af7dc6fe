"""Loads grpc so that the thread which waits for a message reads the connection itself.

By default, threads of grpc's "event engine" read connections and wake whoever waits: one hand-over more a message, at
either end. Its core has the older way, too, behind variables that are looked at once, when grpc is loaded (grpc's
doc/environment_variables.md): GRPC_EXPERIMENTS, and GRPC_POLL_STRATEGY, with which each thread looks at its own
connections and not one of them at all (docs/speed-of-steps.md has what that gains). They are set for that moment alone,
and only where nobody has set either, where grpc is not loaded already, and for versions that know the names.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from typing import Any

_VARIABLES = {
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    "GRPC_POLL_STRATEGY": "poll",
}
_KNOW_THEM = (1, 62), (1, 85)  # the first and the last; another one would complain of a name that it does not know


def _loaded() -> Any:
    known = _KNOW_THEM[0] <= tuple(map(int, version("grpcio").split(".")[:2])) <= _KNOW_THEM[1]
    if "grpc" in sys.modules or not known or any(name in os.environ for name in _VARIABLES):
        return importlib.import_module("grpc")
    os.environ.update(_VARIABLES)
    try:
        return importlib.import_module("grpc")
    finally:
        for name in _VARIABLES:
            del os.environ[name]


grpc = _loaded()
