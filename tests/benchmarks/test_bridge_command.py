"""benchmarks/bridge.py measures, writes its page and picture, and says what it left out."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from bridge_page import GOALS, reached


def test_two_sections_are_measured_and_written(tmp_path):
    python = sys.executable
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    command = [python, "benchmarks/bridge.py", "eight", "native", "--rounds", "1", "--seconds", "0.02"]
    done = subprocess.run(
        [*command, "--page", str(page), "--results", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: on a busy machine a ratio may miss its must
    measured = json.loads(results.read_text())
    assert {"rlbridge grpc", "rlbridge http", "rlbridge unix", "AsyncVectorEnv(8)"} <= set(measured["eight"]["rates"])
    rates = measured["native"]["rates"]
    assert len(rates["rlbridge grpc"]) == 1
    assert all(figure > 0 for figures in rates.values() for figure in figures)
    text = page.read_text()
    for peer in ("dm_env_rpc", "OpenEnv", "Ray actor"):
        reason = measured["native"]["skipped"].get(peer)
        assert peer in rates or (reason and "pip install" in reason and reason in text)
    assert text.count("not measured") >= 3  # the sections that were not asked for
    assert (tmp_path / "page.png").stat().st_size > 5_000


def test_a_ratio_is_of_the_rounds_and_what_was_not_measured_is_not_missed():
    goal = next(goal for goal in GOALS if goal.must == 0.8)
    rates = {goal.over: [10.0, 30.0, 1.0], goal.under: [10.0, 40.0, 100.0]}
    results = {goal.section: {"rates": rates}}
    assert goal.measured(results) == [1.0, 0.75, 0.01]
    assert goal.verdict(results) == "missed"
    assert not reached(goal, results)
    rates[goal.over] = [9.0, 32.0, 1.0]
    assert goal.verdict(results) == "must"
    assert reached(goal, {})
    assert "not measured" in goal.line({})


def test_a_contestant_that_ends_is_left_out_with_a_reason():
    from contestants.contestant import Entry, play

    entries = {"broken": Entry(("turns.py",)), "fine": Entry(("floor.py", "tcp", "10", "20"), 2)}
    rates, skipped = play(entries, rounds=2, seconds=0.01)
    assert list(rates) == ["fine"]
    assert len(rates["fine"]) == 2
    assert "ended before its first turn" in skipped["broken"]
