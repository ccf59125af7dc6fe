"""docs/bridge-benchmarks.md and its picture, from what benchmarks/bridge.py measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contestants.contestant import ratio

SECTIONS = {
    "one": "One environment (CartPole-v1)",
    "eight": "Eight environments (CartPole-v1, one after the other)",
    "rows": "256 environments (CartPole-v1, one after the other)",
    "native": "256 environments that are one object (gymnasium's own vectorised CartPole)",
    "pictures": "Eight observations of 84 x 84 x 4 bytes (226 kB a message; the environment costs nothing)",
    "overlap": "A policy that computes for 5 ms, 256 environments (CartPole-v1, one after the other)",
    "distance": "Eight environments (CartPole-v1) and a torch policy of 2 x 64, at a distance",
}


@dataclass(frozen=True)
class Goal:
    """A ratio to reach.

    Attributes:
        what: for people.
        section, over, under: whose steps a second, and divided by whose.
        must, aim: None where there is none.
    """

    what: str
    section: str
    over: str
    under: str
    must: float | None
    aim: float | None

    def measured(self, results: Mapping[str, Any]) -> list[float] | None:
        """The rounds' ratios; None where one of the two was not measured."""
        rates = results.get(self.section, {}).get("rates", {})
        if self.over not in rates or self.under not in rates:
            return None
        return [a / b for a, b in zip(rates[self.over], rates[self.under], strict=True)]

    def line(self, results: Mapping[str, Any]) -> str:
        """One line of text."""
        found = self.measured(results)
        seen = "not measured" if found is None else f"{statistics.median(found):.2f} {self.verdict(results)}"
        return f"{self.what:96} {seen:22} must {_number(self.must)}, aim {_number(self.aim)}"

    def verdict(self, results: Mapping[str, Any]) -> str:
        """``missed``, ``must`` or ``aim``: the highest mark that the median reaches; empty where there is none."""
        found = self.measured(results)
        if found is None:
            return ""
        median = statistics.median(found)
        if self.aim is not None and median >= self.aim:
            return "aim"
        if self.must is None:
            return ""
        return "must" if median >= self.must else "missed"


_GRPC, _HTTP, _SHM, _ALONE = "rlbridge grpc", "rlbridge http", "rlbridge shm", "in this process"
GOALS = (
    Goal("gRPC against the plain stream, one environment", "one", _GRPC, "plain gRPC stream", 0.9, 1.0),
    Goal("gRPC against dm_env_rpc, one environment", "one", _GRPC, "dm_env_rpc", 1.8, 3.0),
    Goal("gRPC against OpenEnv, one environment", "one", _GRPC, "OpenEnv", 1.8, 3.0),
    Goal("WebSocket against gRPC, one environment", "one", _HTTP, _GRPC, 1.0, 1.5),
    Goal("gRPC against dm_env_rpc, 256 native CartPoles", "native", _GRPC, "dm_env_rpc", 2.2, 3.0),
    Goal("gRPC against local, SyncVectorEnv(256)", "rows", _GRPC, "SyncVectorEnv(256) in this process", 0.8, 0.95),
    Goal("gRPC against raw TCP, 8 x 84 x 84 x 4 uint8", "pictures", _GRPC, "raw TCP, no environment", 0.22, 0.5),
    Goal("WebSocket against raw TCP, 8 x 84 x 84 x 4 uint8", "pictures", _HTTP, "raw TCP, no environment", None, None),
    Goal(
        "shared memory against raw TCP, 8 x 84 x 84 x 4 uint8", "pictures", _SHM, "raw TCP, no environment", None, None
    ),
    Goal(
        *("two sessions in flight against local without overlap, 5 ms policy, SyncVectorEnv(256) each", "overlap"),
        *("two sessions in flight, rlbridge grpc", "without overlap in this process", 1.3, 1.55),
    ),
    Goal(
        *("shared memory against gymnasium's AsyncVectorEnv(8), 8 environments", "eight"),
        *(_SHM, "AsyncVectorEnv(8)", None, 5.0),
    ),
    Goal("edge rollouts at 20 ms against the same loop here", "distance", "edge, 20 ms", _ALONE, 0.9, 1.5),
    Goal("edge rollouts at 20 ms against a message a step", "distance", "edge, 20 ms", "step, 20 ms", 40.0, 80.0),
)
"""The rows of the design's table of numbers to reach that this command measures."""


def reached(goal: Goal, results: Mapping[str, Any]) -> bool:
    """Whether nothing speaks against it: what was not measured is not missed."""
    return goal.verdict(results) != "missed"


def page(results: Mapping[str, Any], image: str) -> str:
    """The page, in Markdown."""
    machines: list[str] = []
    text = [
        "# The bridge next to the floor, and its peers",
        "",
        "Written by `python benchmarks/bridge.py`. Every contestant is a process of its own (with a server of its own "
        "where it has one), all on one machine; they take short turns, round after round. Steps count those of single "
        "environments. A figure is the median of the rounds; a ratio is the median of the rounds' ratios. On a shared "
        "machine absolute figures move by up to twice: the ratios count.",
        "",
        f"![Ratios reached, and steps at a distance]({image})",
        "",
        "| what | ratio | middle half | must | aim | |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_goal_row(goal, results) for goal in GOALS),
    ]
    for name, title in SECTIONS.items():
        if name in results:
            text += ["", f"## {title}", "", *_section(results[name], machines)]
    text += ["", "## Where", "", *(f"{number}. {machine}" for number, machine in enumerate(machines, 1)), ""]
    return "\n".join(text)


def _goal_row(goal: Goal, results: Mapping[str, Any]) -> str:
    found = goal.measured(results)
    if found is None:
        cells = ["not measured", "", _number(goal.must), _number(goal.aim), ""]
    else:
        low, median, high = statistics.quantiles(found, n=4) if len(found) > 1 else found * 3
        verdict = {"aim": "reaches the aim", "must": "reaches the must", "missed": "**missed**", "": ""}[
            goal.verdict(results)
        ]
        cells = [f"**{median:.2f}**", f"{low:.2f} to {high:.2f}", _number(goal.must), _number(goal.aim), verdict]
    return "| " + " | ".join([goal.what, *cells]) + " |"


def _section(section: Mapping[str, Any], machines: list[str]) -> list[str]:
    rates = section["rates"]
    reference = next((name for name in ("rlbridge grpc", _ALONE) if name in rates), next(iter(rates), ""))
    rows = [f"| | steps/s | of {reference} |", "| --- | --- | --- |"]
    for name, figures in rates.items():
        rows.append(f"| {name} | {statistics.median(figures):,.0f} | {ratio(figures, rates[reference]):.3g} |")
    rows += [f"| {name} | left out: {reason} | |" for name, reason in section["skipped"].items()]
    machine = _machine(section["machine"])
    if machine not in machines:
        machines.append(machine)
    rounds = len(next(iter(rates.values()), []))
    return [*rows, "", f"{rounds} rounds; machine {machines.index(machine) + 1}, load {section['machine']['load']}."]


def _machine(about: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    place = "{cpu}, {cores} cores, Python {python}, {date}, commit {commit}".format(**about)
    return f"{place}; {packages}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def picture(results: Mapping[str, Any], path: Path) -> None:
    """Ratios with their marks, and steps over distance."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), width_ratios=(1, 1), layout="constrained")
    goals = [goal for goal in GOALS if goal.measured(results)][::-1]
    for row, goal in enumerate(goals):
        left.barh(row, statistics.median(goal.measured(results) or [0.0]), color="tab:blue", height=0.6)
        for mark, colour in ((goal.must, "tab:red"), (goal.aim, "tab:green")):
            if mark is not None:
                left.plot([mark, mark], [row - 0.4, row + 0.4], color=colour, linewidth=2)
    left.set_xscale("log")
    left.set_yticks(range(len(goals)), [goal.what.replace(", ", ",\n", 1) for goal in goals], fontsize=7)
    left.set_xlabel("ratio (red: must, green: aim)")
    _distance(right, results.get("distance", {}).get("rates", {}))
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _distance(axes: Any, rates: Mapping[str, list[float]]) -> None:
    for kind, colour in (("step", "tab:orange"), ("edge", "tab:green")):
        far = {
            float(name.split()[1]): statistics.median(figures)
            for name, figures in rates.items()
            if name.startswith(f"{kind}, ")
        }
        if far:
            label = {"step": "a message a step", "edge": "the policy at the server"}[kind]
            axes.plot(list(far), list(far.values()), "o-", color=colour, label=label)
    if _ALONE in rates:
        axes.axhline(statistics.median(rates[_ALONE]), color="tab:gray", linestyle="--", label="all in this process")
    axes.set_yscale("log")
    axes.set_xlabel("round trip [ms]")
    axes.set_ylabel("steps/s, 8 environments")
    if axes.has_data():
        axes.legend()
