"""Conformance: does a server, written by anyone in any language, do what the protos' comments say?

Each check is a function that opens sessions of its own, behaves well or badly on purpose, and raises ``Failed`` where
the answer is not what the spec says. The functions speak raw messages through a ``Link``, so they work over every
transport; they know nothing of the environment but what Open tells. ``runner.py`` holds the list, in order.
"""

from rlbridge.check.result import Failed, Result, Skipped
from rlbridge.check.runner import CHECKS, Check, UnknownCheck, check_target, run_checks

__all__ = ["CHECKS", "Check", "Failed", "Result", "Skipped", "UnknownCheck", "check_target", "run_checks"]
