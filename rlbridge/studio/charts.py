"""Charts of metrics over transitions."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from rlbridge.studio.words import Words

COLOURS = ("#1f5a96", "#d1622b", "#1d7a46", "#7a3e9d", "#8a5a00", "#0f7c8a", "#a3195b", "#4a5564")
Lines = dict[str, list[tuple[float, float]]]


class LineChart:
    """Lines over transitions, redrawn only when a point has come.

    Args:
        t: the words.
        label: what the chart shows, for who does not see it.
        height: in pixels.
    """

    def __init__(self, t: Words, label: str, height: int = 320) -> None:
        self._shown: list[tuple[Any, ...]] = []
        self.element = ui.echart(_options(t, label)).style(f"height:{height}px;width:100%")
        self.element.props(f'role="img" aria-label="{label}"')

    def show(self, lines: Lines, dots: Lines | None = None) -> None:
        """Draw ``lines``, and ``dots`` as lines with a mark at each point."""
        dots = dots or {}
        series = [
            _line(name, points, COLOURS[i % len(COLOURS)], False) for i, (name, points) in enumerate(lines.items())
        ]
        series += [
            _line(name, points, COLOURS[(len(lines) + i) % len(COLOURS)], True)
            for i, (name, points) in enumerate(dots.items())
        ]
        shown = [(one["name"], len(one["data"]), one["data"][-1:]) for one in series]
        if shown != self._shown:
            self._shown = shown
            self.element.options["series"] = series
            self.element.update()


def _line(name: str, points: list[tuple[float, float]], colour: str, dots: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "data": [list(point) for point in points],
        "showSymbol": dots or len(points) == 1,
        "symbolSize": 7,
        "lineStyle": {"width": 2},
        "itemStyle": {"color": colour},
        "animation": False,
    }


def _options(t: Words, label: str) -> dict[str, Any]:
    return {
        "animation": False,
        "grid": {"left": 8, "right": 28, "top": 40, "bottom": 28, "containLabel": True},
        "legend": {"type": "scroll", "top": 0},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": t("transitions"),
            "nameLocation": "middle",
            "nameGap": 28,
            "max": "dataMax",
            "axisLabel": {"hideOverlap": True, "showMaxLabel": False},
        },
        "yAxis": {"type": "value", "scale": True},
        "aria": {"enabled": True, "label": {"description": label}},
        "series": [],
    }
