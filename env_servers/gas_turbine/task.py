"""What is wanted of the turbine: speed at its rated value, exhaust below its limit, and never to lose the island."""

from __future__ import annotations

from typing import Any

import numpy as np
from rowen import RATED_EXHAUST, exhaust_temperature

from rlbridge.plants import Transition

SPEED = 1e3
"""A squared speed error of (1 %)² over 10 s costs 1."""
HEAT = 5.0
"""Cost of a second above 950 °F."""
NEAR, NEAR_COST = 920.0, 1.0
"""Seconds above 920 °F cost a little, in proportion to what is missing to 950: a warning, at every reading."""
LOSS = 20.0
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
    gas = exhaust_temperature(seen["fuel"], seen["speed"])
    near = transition.dt * np.clip((gas - NEAR) / (RATED_EXHAUST - NEAR), 0.0, 1.0)
    cost = SPEED * seen["squared_error"] + HEAT * seen["over_temperature"] + NEAR_COST * near
    return -cost - LOSS * collapsed(transition)
