"""The physics: a heavy-duty single-shaft gas turbine on an island, with its governor and temperature control.

W. I. Rowen, *Simplified mathematical representations of heavy-duty gas turbines*, Journal of Engineering for Power 105
(1983), 865-869; parameters as in IEC 61970-302, GovGAST3, where it states typical values. Per unit of rated speed,
power and fuel flow; exhaust temperatures in °F, time in seconds. Every value is a float or an array ``[N]``, one
turbine an entry.

========================  ===============================================================================
speed governor            ``VCE_n = [L + (1 - N)/droop + reset * integral(1 - N)] / (0.05 s + 1)``
temperature control       ``VCE_t = (3.3 e + integral(e)) / 250``, ``e = 950 - measured`` exhaust temperature
the lower of the two      ``Fd = 0.23 + 0.77 VCE N``: fuel demand; 23 % of the fuel only keeps it turning
valve, fuel system        ``Wf = Fd / ((0.05 s + 1)(0.4 s + 1))``
compressor discharge      ``W = Wf / (0.2 s + 1)``
torque                    ``1.3 (W - 0.23) + 0.5 (1 - N)``
exhaust temperature       ``950 - 700 (1 - Wf) + 550 (1 - N)``
its measurement           radiation shield ``0.8 + 0.2/(15 s + 1)``, thermocouple ``1/(2.5 s + 1)``
rotor                     ``15.6 dN/dt = torque - power / N``
========================  ===============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.plants import Value

GOVERNOR_LAG, VALVE_LAG, FUEL_LAG, DISCHARGE_LAG = 0.05, 0.05, 0.4, 0.2
SHIELD_LAG, THERMOCOUPLE_LAG, ROTOR = 15.0, 2.5, 15.6
"""Time constants [s]."""
NO_LOAD_FUEL = 0.23
RATED_EXHAUST = 950.0
"""Above this the turbine ages fast [°F]."""
DEMAND_LIMITS = (-0.1, 1.5)
"""Of the lower demand. Its upper end is above 1 because a cold machine can give more."""
TEMPERATURE_DEMAND_LIMIT = 1.1
"""Where the temperature control waits, wound up no further, while it is not the lower one."""
LEAST_SPEED = 0.5
"""Below it a load of constant power is one of constant torque [pu]; the machine has long been lost then."""
STEP = 0.05
"""Of the integration [s]: a quarter of it changes the speed after a load step by less than 1e-8."""

State = NDArray[np.float64]
"""``[9]`` or ``[9, N]``: speed, governor, its integral, valve, Wf, W, shield, thermocouple, temperature integral."""


@dataclass(frozen=True)
class Gains:
    """Of the built-in controllers; the defaults are the published ones."""

    droop: Value = 0.04
    """Fall in speed [pu] that opens the fuel valve fully."""
    reset: Value = 0.0
    """Demand per speed error and second [1/s]; 0 = a droop governor, whose speed depends on the load."""
    temperature_gain: Value = 3.3
    """Of the temperature control [s]."""
    temperature_time: Value = 250.0
    """Its integration [°F s]."""


def torque(flow: Value, speed: Value) -> Value:
    """Of the shaft [pu]; ``flow`` is W, the fuel that has passed the compressor discharge volume."""
    return 1.3 * (flow - NO_LOAD_FUEL) + 0.5 * (1.0 - speed)


def exhaust_temperature(fuel: Value, speed: Value) -> Value:
    """Of the gas [°F]; ``fuel`` is Wf."""
    return RATED_EXHAUST - 700.0 * (1.0 - fuel) + 550.0 * (1.0 - speed)


def steady_flow(power: Value, speed: Value = 1.0) -> Value:
    """The fuel flow at which the torque carries ``power`` [pu]."""
    return NO_LOAD_FUEL + (power / speed - 0.5 * (1.0 - speed)) / 1.3


def load_reference(power: Value) -> Value:
    """The governor's reference that carries ``power`` [pu] at rated speed."""
    return (steady_flow(power) - NO_LOAD_FUEL) / (1.0 - NO_LOAD_FUEL)


def steady_state(power: Value) -> State:
    """All states when the turbine carries ``power`` [pu] at rated speed."""
    flow = np.asarray(steady_flow(power), np.float64)
    exhaust = exhaust_temperature(flow, 1.0)
    waiting = np.full_like(flow, _wound_up(Gains(), exhaust))
    zero = np.zeros_like(flow)
    return np.stack([zero + 1.0, load_reference(power) + zero, zero, flow, flow, flow, exhaust, exhaust, waiting])


def demand(state: State, gains: Gains) -> tuple[Value, Value]:
    """What the governor and the temperature control ask for [pu]; the lower one wins."""
    error = RATED_EXHAUST - state[7]
    return state[1], (gains.temperature_gain * error + state[8]) / gains.temperature_time


def derivatives(state: State, power: Value, reference: Value, gains: Gains) -> State:
    """Of all states per second, the load being ``power`` and the governor's reference ``reference`` [pu]."""
    speed, governor, integral, valve, fuel, flow, shield, measured, _ = state
    slow = 1.0 - speed
    wanted = reference + slow / gains.droop + integral
    lower = np.minimum(*demand(state, gains))
    lower = np.minimum(np.maximum(lower, DEMAND_LIMITS[0]), DEMAND_LIMITS[1])
    needed = NO_LOAD_FUEL + (1.0 - NO_LOAD_FUEL) * lower * speed
    exhaust = exhaust_temperature(fuel, speed)
    return np.array(
        [
            (torque(flow, speed) - power / np.maximum(speed, LEAST_SPEED)) / ROTOR,
            (wanted - governor) / GOVERNOR_LAG,
            gains.reset * slow,
            (needed - valve) / VALVE_LAG,
            (valve - fuel) / FUEL_LAG,
            (fuel - flow) / DISCHARGE_LAG,
            (exhaust - shield) / SHIELD_LAG,
            (0.8 * exhaust + 0.2 * shield - measured) / THERMOCOUPLE_LAG,
            RATED_EXHAUST - measured,
        ]
    )


def advance(state: State, step: float, power: Value, reference: Value, gains: Gains) -> State:
    """All states ``step`` seconds later (at most ``STEP``); load, reference and gains stay as they are meanwhile.

    Runge-Kutta of fourth order.
    """
    k1 = derivatives(state, power, reference, gains)
    k2 = derivatives(state + 0.5 * step * k1, power, reference, gains)
    k3 = derivatives(state + 0.5 * step * k2, power, reference, gains)
    k4 = derivatives(state + step * k3, power, reference, gains)
    state = state + step / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
    state[2] = _held(state[2], state, reference, gains)
    state[8] = np.minimum(state[8], _wound_up(gains, state[7]))
    return state


def _held(integral: Value, state: State, reference: Value, gains: Gains) -> Any:
    """The governor's integral, wound up no further than its demand can go."""
    proportional = reference + (1.0 - state[0]) / gains.droop
    low, high = DEMAND_LIMITS[0] - proportional, DEMAND_LIMITS[1] - proportional
    return np.minimum(np.maximum(integral, np.minimum(low, 0.0)), np.maximum(high, 0.0))


def _wound_up(gains: Gains, measured: Value) -> Any:
    """The temperature control's integral at which it asks for ``TEMPERATURE_DEMAND_LIMIT``."""
    waiting = TEMPERATURE_DEMAND_LIMIT * gains.temperature_time
    return waiting - gains.temperature_gain * (RATED_EXHAUST - measured)
