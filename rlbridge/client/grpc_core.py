"""Loads grpc so that the thread which waits for an answer reads the connection itself.

By default, threads of grpc's "event engine" read a client's connections, and wake whoever waits: one hand-over more a
message, a fifth of its time (docs/speed-of-steps.md). Its core has the older way, too, behind a switch that is looked
at once, when grpc is loaded: the variable GRPC_EXPERIMENTS (grpc's doc/environment_variables.md). It is set for that
moment alone, and only where nobody has set it, where grpc is not loaded already, and for versions that know the switch.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from typing import Any

_VARIABLE, _SWITCH = "GRPC_EXPERIMENTS", "-event_engine_client"
_KNOW_IT = (1, 62), (1, 85)  # the first and the last; another one would complain of a name that it does not know


def _loaded() -> Any:
    known = _KNOW_IT[0] <= tuple(map(int, version("grpcio").split(".")[:2])) <= _KNOW_IT[1]
    if "grpc" in sys.modules or _VARIABLE in os.environ or not known:
        return importlib.import_module("grpc")
    os.environ[_VARIABLE] = _SWITCH
    try:
        return importlib.import_module("grpc")
    finally:
        del os.environ[_VARIABLE]


grpc = _loaded()
