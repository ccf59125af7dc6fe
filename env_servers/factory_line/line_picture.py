"""A picture of a running line in plain numpy: quick enough to film an episode, and nothing to install."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from production_line import Machine, ProductionLine, State

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

HEIGHT = 128
CELL = 12
"""Side of one place in a buffer [pixels]; a machine is three cells wide."""
GAP = 8
MACHINE_TOP = 46
STOCK_ROWS = 4
STOCK_COLUMNS = 8

PAPER, PLACE, JOB, LATE = (250, 250, 248), (222, 224, 228), (44, 110, 170), (196, 52, 60)
RUSH_BAND, QUIET_BAND, NOW = (240, 190, 110), (222, 224, 228), (40, 40, 40)
MACHINE_COLOUR: dict[State, Colour] = {
    State.STARVED: (190, 194, 200),
    State.WORKING: (64, 150, 90),
    State.BLOCKED: (226, 166, 50),
    State.BROKEN: (196, 52, 60),
    State.IN_REPAIR: (140, 84, 160),
}


def paint(line: ProductionLine, time_of_day: float, rush: tuple[float, float]) -> Image:
    """Draw the line from left to right, then the finished stock, or in red the orders that wait for it.

    Args:
        line: buffers must be finite.
        time_of_day: 0 to 1, the mark on the band at the top.
        rush: begin and end of the rush, likewise.

    Returns:
        ``(128, width, 3)`` uint8; the width follows from the number of places.
    """
    places = sum(int(machine.station.buffer) for machine in line.machines)
    width = GAP + CELL * places + len(line.machines) * (3 * CELL + 2 * GAP) + STOCK_COLUMNS * CELL + 2 * GAP
    image = np.full((HEIGHT, width, 3), PAPER, np.uint8)

    _box(image, GAP, 10, width - 2 * GAP, 8, QUIET_BAND)
    span = width - 2 * GAP
    _box(image, GAP + round(rush[0] * span), 10, round((rush[1] - rush[0]) * span), 8, RUSH_BAND)
    _box(image, GAP + round(time_of_day * span), 6, 3, 16, NOW)

    left = GAP
    for machine in line.machines:
        left = _paint_station(image, left, machine)
    _paint_stock(image, left + GAP, line)
    return image


def _paint_station(image: Image, left: int, machine: Machine) -> int:
    waiting = max(0, len(machine.jobs) - 1)
    places = int(machine.station.buffer)
    for place in range(places):  # the queue's head is next to the machine
        filled = places - place <= waiting
        _box(image, left, MACHINE_TOP + CELL, CELL - 2, CELL, JOB if filled else PLACE)
        left += CELL
    _box(image, left, MACHINE_TOP, 3 * CELL, 3 * CELL, MACHINE_COLOUR[machine.state])
    if machine.jobs:
        _box(image, left + CELL, MACHINE_TOP + CELL, CELL, CELL, JOB)
    return left + 3 * CELL + 2 * GAP


def _paint_stock(image: Image, left: int, line: ProductionLine) -> None:
    shown, colour = (line.backlog.value, LATE) if line.backlog.value else (line.stock.value, JOB)
    top = MACHINE_TOP - CELL // 2
    for cell in range(STOCK_ROWS * STOCK_COLUMNS):
        row, column = divmod(cell, STOCK_COLUMNS)
        filled = cell < shown
        _box(image, left + column * CELL, top + row * CELL, CELL - 2, CELL - 2, colour if filled else PLACE)


def _box(image: Image, left: int, top: int, width: int, height: int, colour: Colour) -> None:
    image[top : top + height, left : left + width] = colour
