"""Training over the network is training: same seed, same weights, to the bit."""

from __future__ import annotations

import json

import rlbridge
from rlbridge.learn import weights_digest


def train(target: str, folder, name: str, **algorithm) -> rlbridge.learn.Run:
    return rlbridge.train(
        {
            "env": {"target": target, "num_envs": 8},
            "algorithm": {"name": "ppo", "total_steps": 8_192, **algorithm},
            "evaluation": {"every": 4_096, "episodes": 4},
            "run": {"name": name, "dir": str(folder), "seed": 3},
        },
        progress=False,
    )


def test_discrete_weights_metrics_and_evaluations_are_bit_identical(serve, tmp_path):
    urls = serve("CartPole-v1", bind=["grpc://127.0.0.1:0", f"unix://{tmp_path}/env.sock", "http://127.0.0.1:0"]).urls
    runs = [train(target, tmp_path, f"run-{i}") for i, target in enumerate(["CartPole-v1", *urls])]
    assert len({weights_digest(run.policy) for run in runs}) == 1
    lines = [(run.dir / "metrics.jsonl").read_text().splitlines() for run in runs]
    kept = [[_without_time(line) for line in run] for run in lines]
    assert all(lines == kept[0] for lines in kept)


def test_continuous_weights_are_bit_identical(serve, tmp_path):
    url = serve("Pendulum-v1").urls[0]
    runs = [train(target, tmp_path, f"run-{i}") for i, target in enumerate(["Pendulum-v1", url])]
    assert weights_digest(runs[0].policy) == weights_digest(runs[1].policy)


def test_a_run_goes_on_when_a_sub_environment_fails_and_counts_the_rows_left_out(serve, tmp_path):
    url = serve("tests.envs:Mortal").urls[0]
    run = train(url, tmp_path, "mortal", total_steps=200, rollout_steps=32)
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("rollout/dropped", 0) for row in rows) >= 8  # each of the eight once


def test_a_native_batch_is_trained_on_in_the_mode_that_it_has(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text("env: CartPole-v1\nvectorization: native\n")
    run = train(serve(str(tmp_path)).urls[0], tmp_path, "native", total_steps=2_048)
    assert run.steps >= 2_048
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("bridge/rtt_ms_p50", 0) for row in rows) > 0


def _without_time(line: str) -> dict:
    row = json.loads(line)
    return {key: value for key, value in row.items() if key != "seconds" and not key.startswith(("time/", "bridge/"))}
