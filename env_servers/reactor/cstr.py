"""The physics: an exothermic first-order reaction A -> B in a stirred tank, cooled by a jacket.

Henson and Seborg, *Nonlinear Process Control* (Prentice Hall, 1997), chapter 1::

    dCa/dt = q/V (Caf - Ca) - k(T) Ca
    dT/dt  = q/V (Tf - T) + (-dH)/(rho Cp) k(T) Ca + UA/(V rho Cp) (Tc - T)
    k(T)   = k0 exp(-E/(R T))

Time is in minutes, as in the book. Every value is a float or an array ``[N]``, one reactor an entry.
"""

from __future__ import annotations

import numpy as np

from rlbridge.plants import Value

FLOW = 100.0
"""q [L/min]"""
VOLUME = 100.0
"""V [L]"""
DENSITY = 1000.0
"""rho [g/L]"""
HEAT_CAPACITY = 0.239
"""Cp [J/(g K)]"""
REACTION_HEAT = 5e4
"""-dH [J/mol]"""
ACTIVATION = 8750.0
"""E/R [K]"""
RATE = 7.2e10
"""k0 [1/min]"""
TRANSFER = 5e4
"""UA [J/(min K)]"""
FEED_CONCENTRATION = 1.0
"""Caf [mol/L]"""
FEED_TEMPERATURE = 350.0
"""Tf [K]"""

DILUTION = FLOW / VOLUME
HEATING = REACTION_HEAT / (DENSITY * HEAT_CAPACITY)
COOLING = TRANSFER / (VOLUME * DENSITY * HEAT_CAPACITY)

LONGEST_STEP = 0.05
"""Of the integration [min]."""
SHARE_OF_A_TIME_CONSTANT = 0.1
"""A step is at most this share of ``1 / (q/V + k(T))``: an ignited reactor is a thousand times faster."""


def reaction_rate(temperature: Value) -> Value:
    """``k(T)`` in 1/min."""
    return RATE * np.exp(-ACTIVATION / temperature)


def derivatives(
    concentration: Value, temperature: Value, coolant: Value, feed_temperature: Value
) -> tuple[Value, Value]:
    """``dCa/dt`` [mol/(L min)] and ``dT/dt`` [K/min]; temperatures in K, the concentration in mol/L."""
    reacted = reaction_rate(temperature) * concentration
    return (
        DILUTION * (FEED_CONCENTRATION - concentration) - reacted,
        DILUTION * (feed_temperature - temperature) + HEATING * reacted + COOLING * (coolant - temperature),
    )


def advance(
    concentration: Value, temperature: Value, coolant: Value, feed_temperature: Value, minutes: float
) -> tuple[Value, Value, Value]:
    """Concentration, temperature and highest temperature after ``minutes`` in which coolant and feed stay as they are.

    Runge-Kutta of fourth order. Each reactor of a batch takes steps of its own length, so that none of them depends on
    its neighbours.
    """
    left = minutes + 0.0 * temperature
    peak = temperature
    while np.any(left > 0.0):
        allowed = SHARE_OF_A_TIME_CONSTANT / (DILUTION + reaction_rate(temperature))
        step = np.minimum(np.minimum(allowed, LONGEST_STEP), left)
        left = left - step
        concentration, temperature = _runge_kutta(concentration, temperature, coolant, feed_temperature, step)
        peak = np.maximum(peak, temperature)
    return concentration, temperature, peak


def _runge_kutta(ca: Value, t: Value, coolant: Value, feed: Value, step: Value) -> tuple[Value, Value]:
    half = 0.5 * step
    ca1, t1 = derivatives(ca, t, coolant, feed)
    ca2, t2 = derivatives(ca + half * ca1, t + half * t1, coolant, feed)
    ca3, t3 = derivatives(ca + half * ca2, t + half * t2, coolant, feed)
    ca4, t4 = derivatives(ca + step * ca3, t + step * t3, coolant, feed)
    sixth = step / 6.0
    return ca + sixth * (ca1 + 2.0 * (ca2 + ca3) + ca4), t + sixth * (t1 + 2.0 * (t2 + t3) + t4)
