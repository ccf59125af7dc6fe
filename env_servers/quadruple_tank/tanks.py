"""The physics: two upper tanks drain into two lower ones, and each of two pumps feeds a lower and the other upper tank.

K. H. Johansson, *The quadruple-tank process: a multivariable laboratory process with an adjustable zero*, IEEE
Transactions on Control Systems Technology 8 (2000), 456-465::

    A1 dh1/dt = -a1 sqrt(2 g h1) + a3 sqrt(2 g h3) + gamma1 k1 v1
    A2 dh2/dt = -a2 sqrt(2 g h2) + a4 sqrt(2 g h4) + gamma2 k2 v2
    A3 dh3/dt = -a3 sqrt(2 g h3) + (1 - gamma2) k2 v2
    A4 dh4/dt = -a4 sqrt(2 g h4) + (1 - gamma1) k1 v1

Centimetres, seconds and volts. Levels are ``[4]`` or ``[4, N]``, one process a column; pumps ``[2]`` or ``[2, N]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AREAS = np.array([28.0, 32.0, 28.0, 32.0])
"""A, cross-sections of the tanks [cm²]."""
OUTLETS = np.array([0.071, 0.057, 0.071, 0.057])
"""a, cross-sections of the outlets [cm²]."""
GRAVITY = 981.0
"""g [cm/s²]."""
STEP = 1.0
"""Of the integration [s]; the fastest tank, nearly empty, follows within 5 s."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Phase:
    """How the valves stand, which decides where the process has its zeros, and the point Johansson worked at."""

    gains: tuple[float, float]
    """k, flow of each pump [cm³/(V s)]."""
    shares: tuple[float, float]
    """gamma, the part of each pump's flow that goes to a lower tank directly."""
    voltages: tuple[float, float]
    """v, the pumps at the operating point [V]."""


PHASES = {
    "minimum": Phase((3.33, 3.35), (0.70, 0.60), (3.00, 3.00)),
    "non-minimum": Phase((3.14, 3.29), (0.43, 0.34), (3.15, 3.15)),
}


def _column(values: Numbers, like: Numbers) -> Numbers:
    return values if like.ndim == 1 else values[:, np.newaxis]


def inflow(phase: Phase, pumps: Numbers) -> Numbers:
    """Flow from the pumps into each tank [cm³/s], shaped like the levels."""
    (k1, k2), (share1, share2), (v1, v2) = phase.gains, phase.shares, pumps
    return np.array([share1 * k1 * v1, share2 * k2 * v2, (1.0 - share2) * k2 * v2, (1.0 - share1) * k1 * v1])


def derivatives(levels: Numbers, pumped: Numbers) -> Numbers:
    """``dh/dt`` [cm/s]; ``pumped`` is :func:`inflow`."""
    out = _column(OUTLETS, levels) * np.sqrt(2.0 * GRAVITY * np.maximum(levels, 0.0))
    net = pumped - out
    net[:2] += out[2:]
    return net / _column(AREAS, levels)


def advance(levels: Numbers, pumps: Numbers, phase: Phase, seconds: float) -> Numbers:
    """Levels after ``seconds`` of constant pumps. Runge-Kutta of fourth order; a tank is never emptier than empty."""
    steps = max(1, math.ceil(seconds / STEP - 1e-9))
    step, pumped = seconds / steps, inflow(phase, pumps)
    for _ in range(steps):
        k1 = derivatives(levels, pumped)
        k2 = derivatives(levels + 0.5 * step * k1, pumped)
        k3 = derivatives(levels + 0.5 * step * k2, pumped)
        k4 = derivatives(levels + step * k3, pumped)
        levels = np.maximum(levels + step / 6.0 * (k1 + 2.0 * (k2 + k3) + k4), 0.0)
    return levels


def steady_levels(pumps: Numbers, phase: Phase) -> Numbers:
    """The levels at which every tank loses what it gets [cm]."""
    pumped = inflow(phase, pumps)
    through = np.array([pumped[0] + pumped[2], pumped[1] + pumped[3], pumped[2], pumped[3]])
    return (through / _column(OUTLETS, through)) ** 2 / (2.0 * GRAVITY)


def voltages_for(levels: tuple[float, float], phase: Phase) -> Numbers:
    """The pumps that hold the two lower levels [V]."""
    (k1, k2), (share1, share2) = phase.gains, phase.shares
    mixing = np.array([[share1 * k1, (1.0 - share2) * k2], [(1.0 - share1) * k1, share2 * k2]])
    return np.linalg.solve(mixing, OUTLETS[:2] * np.sqrt(2.0 * GRAVITY * np.array(levels)))
