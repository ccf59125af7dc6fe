"""``make learn``: what it keeps, what it does again, what it counts and when it fails."""

from __future__ import annotations

import json
import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import learn


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run it with these arguments, on a sliver of the steps; returns the exit status and what was printed."""

    def run(*arguments: str) -> tuple[int, str]:
        places = ["--results", str(tmp_path / "results"), "--page", str(tmp_path / "page.md")]
        monkeypatch.setattr(sys, "argv", ["learn.py", "cartpole_ppo", *arguments, *places])
        return learn.main(), capsys.readouterr().out

    run.results, run.page = tmp_path / "results", tmp_path / "page.md"
    return run


def test_a_run_that_is_done_is_not_done_again_unless_its_settings_change(command):
    status, printed = command("--seeds", "4", "--fraction", "0.005")
    assert status == 1, "500 steps cannot reach the threshold, and one seed is not three"
    assert "done already" not in printed
    first = json.loads((command.results / "cartpole_ppo-4.json").read_text())
    assert first["steps"] == 512
    assert len(first["returns"]) == learn.EPISODES
    assert command("--seeds", "4", "--fraction", "0.005") == (1, f"cartpole_ppo seed 4: done already, {_mean(first)}\n")
    _, printed = command("--seeds", "4", "--fraction", "0.01")
    assert "done already" not in printed
    assert json.loads((command.results / "cartpole_ppo-4.json").read_text())["steps"] == 1024
    assert "**1 of 3 seeds done**" in command.page.read_text()
    status, _ = command("--seeds", "5", "6", "--fraction", "0.005")
    assert status == 1
    assert "**missed**" in command.page.read_text()


def test_staying_solved_counts_the_lowest_evaluation_after_the_first_good_one():
    goal = learn.GOALS["cartpole_dqn_stays"]
    evaluations = [[10_000, 120.0], [20_000, 480.0], [30_000, 460.0], [40_000, 500.0]]
    assert learn.score(goal, {"evaluations": evaluations}) == 460.0
    assert learn.score(goal, {"evaluations": evaluations[:1]}) == float("-inf")
    runs = [{"evaluations": [[20_000, 500.0], [30_000, low]]} for low in (500.0, 500.0, 440.0)]
    assert learn.reached(goal, runs[:2] * 2)
    assert not learn.reached(goal, runs), "the mean would do, but one run did not stay"


def test_a_setting_that_is_new_keeps_what_was_measured_and_one_that_differs_does_not():
    old = {"algorithm": {"name": "dqn", "gamma": 0.99}}
    assert learn.same_settings(old, {"algorithm": {"name": "dqn", "gamma": 0.99, "new": 1}, "newer": {}})
    assert not learn.same_settings(old, {"algorithm": {"name": "dqn", "gamma": 0.98}})


def _mean(result: dict) -> str:
    return f"{result['return_mean']:.1f}"
