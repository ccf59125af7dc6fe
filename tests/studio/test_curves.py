"""Metrics of runs of any length, thinned for a chart."""

import itertools
import json

import pytest

from rlbridge.studio.curves import POINTS, Curve, series


def write(path, rows, mode="a"):
    with path.open(mode) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def rows_of(numbers, evaluated_every=0):
    for n in numbers:
        row = {"step": n * 32, "rollout/ep_rew_mean": n / 10, "train/loss": 1.0 / (n + 1)}
        if evaluated_every and n % evaluated_every == 0:
            row["eval/return_mean"] = float(n)
        yield row


def test_a_short_run_is_shown_whole_and_as_it_grows(tmp_path):
    curve = Curve(tmp_path / "metrics.jsonl")
    assert curve.read() == []
    write(tmp_path / "metrics.jsonl", rows_of(range(5)))
    assert [row["step"] for row in curve.read()] == [0, 32, 64, 96, 128]
    write(tmp_path / "metrics.jsonl", rows_of(range(5, 7)))
    assert [row["step"] for row in curve.read()][-2:] == [160, 192]


def test_half_a_line_is_not_read_until_it_is_whole(tmp_path):
    file = tmp_path / "metrics.jsonl"
    line = json.dumps({"step": 32, "time/fps": 5.0}) + "\n"
    file.write_text(line[:10])
    curve = Curve(file)
    assert curve.read() == []
    with file.open("a") as more:
        more.write(line[10:])
    assert curve.read() == [{"step": 32, "time/fps": 5.0}]


def test_a_long_run_is_thinned_but_for_its_evaluations_and_its_latest_row(tmp_path):
    file, n = tmp_path / "metrics.jsonl", 50_000
    write(file, rows_of(range(n), evaluated_every=1_000))
    curve = Curve(file)
    rows = curve.read()
    assert POINTS // 2 < len(rows) <= 2 * POINTS + 1
    assert [step for step, _ in series(rows, "eval/return_mean")] == [32 * k for k in range(0, n, 1_000)]
    assert rows[-1]["step"] == (n - 1) * 32
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps))
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    assert max(gaps) <= 4 * n * 32 // POINTS  # no part of the run is left out
    write(file, rows_of(range(n, n + 10)))
    assert curve.read()[-1]["step"] == (n + 9) * 32


def test_so_many_evaluations_are_thinned_too(tmp_path):
    write(tmp_path / "metrics.jsonl", rows_of(range(20_000), evaluated_every=1))
    assert len(Curve(tmp_path / "metrics.jsonl").read()) <= 2 * POINTS + 1


def test_what_a_resumed_run_took_back_is_not_shown(tmp_path):
    file = tmp_path / "metrics.jsonl"
    write(file, rows_of(range(10)))
    curve = Curve(file)
    curve.read()
    write(file, rows_of(range(4)), mode="w")
    assert [row["step"] for row in curve.read()] == [0, 32, 64, 96]


def test_a_longer_run_of_the_same_name_keeps_no_row_of_the_one_deleted(tmp_path):
    file = tmp_path / "metrics.jsonl"
    write(file, rows_of(range(10)))
    curve = Curve(file)
    assert len(curve.read()) == 10
    file.rename(tmp_path / "gone")  # its number is not used again
    write(file, rows_of(range(100, 130)))
    assert [row["step"] for row in curve.read()] == [32 * n for n in range(100, 130)]
    write(file, rows_of(range(200, 250)), mode="w")  # its number is
    assert [row["step"] for row in curve.read()] == [32 * n for n in range(200, 250)]
    write(file, rows_of(range(250, 252)))
    assert [row["step"] for row in curve.read()] == [32 * n for n in range(200, 252)]
    file.unlink()
    assert curve.read() == []


@pytest.mark.parametrize(
    "value", ['{":x": "1"}', "[1]", '"1"', "true", "null", "NaN", "Infinity", "-1e999", f"1{'0' * 400}", "[" * 100_000]
)
def test_what_is_no_finite_number_reaches_no_chart(tmp_path, value):
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{{"step": 0}}\n{{"step": 30, "rollout/ep_rew_mean": {value}, "train/loss": 1}}\n')
    rows = Curve(file).read()
    assert rows[0] == {"step": 0}
    assert rows[1:] in ([{"step": 30, "train/loss": 1}], [])  # the whole row goes where it is no JSON
    assert series(rows, "rollout/ep_rew_mean") == []
    file.write_text(f'{{"step": {value}}}\n')
    assert Curve(file).read() == []
