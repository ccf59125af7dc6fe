"""The learning curve as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlbridge.learn.metrics import read_episodes, read_metric
from rlbridge.runs.folder import RunFolder


def draw_curve(folder: RunFolder, title: str, baseline: tuple[str, float] | None = None) -> Path | None:
    """Draw a run's returns over its transitions into ``curve.png``.

    Args:
        folder: with its ``episodes.csv`` and ``metrics.jsonl``.
        title: above the picture.
        baseline: a name and a return, drawn as a level line: what there was before learning.

    Returns:
        The picture, or None if no episode has ended or matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        folder.log("matplotlib is not installed: no curve.png (pip install matplotlib)")
        return None
    steps, returns = read_episodes(folder)
    if not len(steps):
        return None
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(steps, returns, color="#9bb8d3", linewidth=0.6, alpha=0.6, label="episodes")
    axes.plot(steps, _smooth(returns), color="#1f5a96", linewidth=2.0, label="episodes, smoothed")
    at, means = read_metric(folder, "eval/return_mean")
    if len(at):
        _, deviations = read_metric(folder, "eval/return_std")
        axes.errorbar(
            at, means, yerr=deviations, color="#d1622b", marker="o", markersize=4.5, linewidth=1.2,
            elinewidth=0.8, capsize=2.5, label="evaluation, mean ± deviation",
        )  # fmt: skip
    if baseline is not None:
        name, level = baseline
        axes.axhline(level, color="#555555", linestyle="--", linewidth=1.2, label=f"{name}: {level:.4g}")
    axes.set_xlabel("transitions")
    axes.set_ylabel("return")
    axes.set_title(title, loc="left", fontsize=11)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(folder.curve, dpi=130)
    return folder.curve


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the last episodes, as many as a twentieth of all (at least 5)."""
    window = min(len(values), max(5, len(values) // 20))
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return means
