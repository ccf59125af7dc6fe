"""Draw the line for the README: ``python env_servers/factory_line/draw.py`` writes ``picture.png``."""

from __future__ import annotations

from pathlib import Path

from factory_task import CAPS, QUIET_RATE, RUSH, RUSH_RATE, STATIONS
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

JOB, MACHINE, CARD, REPAIR, LATE = "#2c6eaa", "#40965a", "#e2a632", "#8c54a0", "#c4343c"
PLACE = 0.34
"""Width of one place in a buffer."""


def arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float], colour: str, bend: float = 0.0) -> None:
    """An arrow from ``begin`` to ``end``."""
    axes.add_patch(
        FancyArrowPatch(
            begin, end, arrowstyle="-|>", mutation_scale=13, color=colour, connectionstyle=f"arc3,rad={bend}", lw=1.6
        )
    )


def main() -> None:
    """Stations from left to right, cards back along the top, the repairer below."""
    figure, axes = pyplot.subplots(figsize=(11, 3.7), layout="constrained")
    left = 1.6
    release = f"release\n{CAPS[0]} to {CAPS[-1]}\ncards"
    axes.text(0.1, 0.5, release, ha="left", va="center", weight="bold")
    centres = []
    for name, station in STATIONS.items():
        arrow(axes, (left - 0.5, 0.5), (left - 0.05, 0.5), "black")
        for _ in range(int(station.buffer)):
            axes.add_patch(Rectangle((left, 0.35), PLACE - 0.04, 0.3, facecolor="#dfe8f2", edgecolor=JOB))
            left += PLACE
        axes.add_patch(Rectangle((left, 0.0), 1.1, 1.0, facecolor=MACHINE))
        axes.text(left + 0.55, 0.5, name, ha="center", va="center", color="white", weight="bold", fontsize=12)
        service = f"{station.service_mean * 60:.0f} min a job"
        failure = f"fails after {station.failure_mean:g} h of work"
        note = f"{service}\n{failure}\nrepair {station.repair_mean:g} h"
        axes.text(left + 0.55, -0.12, note, ha="center", va="top", fontsize=8.5)
        centres.append(left + 0.55)
        left += 1.1 + 0.6
    middle = centres[len(centres) // 2]
    for centre in centres:
        arrow(axes, (middle, -1.45), (centre, -0.72), REPAIR)
    axes.text(middle, -1.5, "one repairer: whom first?", ha="center", va="top", color=REPAIR, weight="bold")

    arrow(axes, (left - 0.5, 0.5), (left - 0.05, 0.5), "black")
    for row in range(4):
        for column in range(4):
            corner = (left + column * PLACE, -0.02 + row * 0.27)
            axes.add_patch(Rectangle(corner, PLACE - 0.04, 0.22, facecolor="#dfe8f2", edgecolor=JOB))
    axes.text(left + 2 * PLACE, -0.12, "finished stock", ha="center", va="top", fontsize=9)
    sold = left + 4 * PLACE
    arrow(axes, (sold + 0.1, 0.5), (sold + 0.7, 0.5), "black")
    orders = f"orders\n{QUIET_RATE:g} an hour,\n{RUSH[0]}:00 to {RUSH[1]}:00\n{RUSH_RATE:g} an hour"
    axes.text(sold + 0.8, 0.5, orders, ha="left", va="center", color=LATE, weight="bold")
    arrow(axes, (sold + 0.3, 1.15), (0.5, 1.05), CARD, bend=0.09)
    axes.text(middle, 1.72, "a sold job's card goes back", ha="center", va="bottom", color="#a87510", weight="bold")

    axes.set(xlim=(0, sold + 2.4), ylim=(-1.85, 2.05))
    axes.axis("off")
    figure.savefig(Path(__file__).resolve().parent / "picture.png", dpi=110)


if __name__ == "__main__":
    main()
