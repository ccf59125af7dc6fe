"""What is wanted of the reactor: its temperature at the set point, without shaking the coolant's valve."""

from __future__ import annotations

from typing import Any

from rlbridge.plants import Transition

SCALE = 5.0
"""An error of 5 K for one period costs 1; costs go with its square."""
MOVE = 0.01
"""Cost of moving the coolant by 1 K."""


def reward(transition: Transition) -> Any:
    """Minus the cost of the period. The error is from the set point that was shown when the action was chosen."""
    error = (transition.after["temperature"] - transition.before["set_point"]) / SCALE
    moved = abs(transition.applied["coolant"] - transition.before["coolant"])
    return -(error**2) - MOVE * moved
