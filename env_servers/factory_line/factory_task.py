"""The plant, its customers and its prices: the numbers of the task, which the environment and the fixed rules share."""

from __future__ import annotations

from production_line import Station

STATIONS = {
    "cut": Station(service_mean=0.18, service_cv=0.5, buffer=6, failure_mean=8.0, repair_mean=0.8),
    "weld": Station(service_mean=0.18, service_cv=0.5, buffer=6, failure_mean=16.0, repair_mean=2.0),
    "paint": Station(service_mean=0.18, service_cv=0.5, buffer=6, failure_mean=10.0, repair_mean=1.0),
}
"""Times in hours; buffers in jobs. One repairer serves all three."""

CAPS = (4, 8, 12, 16, 20, 24, 28, 32)
"""The CONWIP levels to choose from [jobs in the line and in the finished stock]."""

DAY = 24
RUSH = (15, 19)
"""From when to when customers are in a hurry, every day [h]."""
QUIET_RATE, RUSH_RATE = 0.8, 9.0
"""Orders per hour outside and inside the rush."""

MARGIN = 0.4
"""Earned for a job sold [k€]."""
HOLDING = 0.02
"""Paid for a job in the line or in stock [k€/h]."""
LATENESS = 0.1
"""Paid for an order that waits [k€/h]."""


def order_rate(time: float) -> float:
    """Orders per hour at ``time`` [h since a midnight]: the same every day, and known to everyone."""
    return RUSH_RATE if RUSH[0] <= time % DAY < RUSH[1] else QUIET_RATE


def expected_orders(hour: int, hours: int) -> float:
    """Orders to be expected in the next ``hours`` whole hours."""
    return sum(order_rate(hour + ahead) for ahead in range(hours))


def action_of(cap: int, first: str) -> int:
    """The action that puts ``cap`` cards into play and sends the repairer to station ``first`` first."""
    return len(STATIONS) * CAPS.index(cap) + list(STATIONS).index(first)
