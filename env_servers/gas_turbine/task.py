"""What is wanted of the turbine: speed at its rated value, exhaust below its limit, and never to lose the island."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbridge.plants import Transition

SPEED = 1e3
"""A squared speed error of (1 %)² over 10 s costs 1."""
HEAT = 5.0
"""Cost of a second above 950 °F."""
LOSS = 100.0
"""Cost of a collapse, in which the episode ends."""
SPEEDS = (0.94, 1.06)
"""Outside of these the protection takes the machine off [pu]."""


def collapsed(transition: Transition) -> Any:
    """Whether the island is lost."""
    speed = np.asarray(transition.after["speed"])
    return (speed < SPEEDS[0]) | (speed > SPEEDS[1])


def reward(transition: Transition) -> Any:
    """Minus the cost of the period."""
    seen = transition.after
    return -SPEED * seen["squared_error"] - HEAT * seen["over_temperature"] - LOSS * collapsed(transition)
