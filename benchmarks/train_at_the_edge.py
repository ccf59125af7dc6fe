"""Training with the policy at a distant environment: as long as locally, and as good?

    python benchmarks/train_at_the_edge.py [ppo dqn sac] [--seeds 0 1 2] [--round-trip-ms 20] [--fraction 1.0]

For each seed one training with ``env.placement=edge``, and before it one locally where a time is asked for (PPO's),
each in a process of its own, with the run file of examples/runs; the server is another process, behind
benchmarks/delay_proxy.py. Seconds are of training alone, without evaluation and checkpoints on the way. Returns are
means over 100 deterministic episodes of the last policy. Full-length results go to benchmarks/results/edge.json and
docs/edge-results.md.
Ends with 1 if a wall time ratio or a return is not what it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from delay_proxy import DelayProxy
from learn import ROOT, machine
from served import served


class Case(NamedTuple):
    """A run file, and the return it must reach: each seed's, or their mean; ``ratio`` of wall times, where there is a
    limit; ``overlap`` of its rollouts at the edge."""

    run: str
    target: str
    threshold: float
    ratio: float | None
    each: bool
    overlap: int = 1


CASES = {
    # Its rollouts are of 32 steps, which take a fraction of the round trip to make and to learn from.
    "ppo": Case("cartpole_ppo", "CartPole-v1", 475.0, 1.2, True, overlap=3),
    "dqn": Case("cartpole_dqn", "CartPole-v1", 475.0, None, False),
    "sac": Case("pendulum_sac", "Pendulum-v1", -160.0, None, False),
}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def child(name: str, url: str, seed: int, fraction: float) -> None:
    """Train, and print what came of it as JSON; ``url`` is empty for a local run."""
    import rlbridge
    from rlbridge.config import load_config
    from rlbridge.play import evaluate

    case = CASES[name]
    remote = [f"env.target={url}", "env.placement=edge", f"env.overlap={case.overlap}"] if url else []
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["evaluation.every=0", "checkpoint.every=0", "run.tensorboard=false", f"run.dir={folder}"]
        config = load_config(ROOT / f"examples/runs/{case.run}.yaml", [*quiet, *remote, f"run.seed={seed}"])
        config.algorithm.total_steps = max(int(config.algorithm.total_steps * fraction), 1)
        started, stopped = time.perf_counter(), []

        def watch(step: int, metrics: Any) -> None:
            if step >= config.algorithm.total_steps and not stopped:
                stopped.append(time.perf_counter())

        run = rlbridge.train(config, progress=False, callback=watch)
        seconds = (stopped[0] if stopped else time.perf_counter()) - started
        envs = rlbridge.make_vec(case.target, 10, autoreset_mode="SameStep")
        played = evaluate(run.policy, envs, 100, 123_456)
    print(json.dumps({"seconds": seconds, "steps": run.steps, "return_mean": played.return_mean}))


def trained(name: str, url: str, seed: int, fraction: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, url, str(seed), str(fraction)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **_ONE_THREAD})
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def table(measured: dict[str, Any]) -> str:
    header = ["run", "overlap", "local s", "edge s", "edge / local", "must", "local return", "edge return", "must"]
    rows = [header, ["---"] * len(header)]
    for name, pairs in measured.items():
        case, row = CASES[name], [CASES[name].run, str(CASES[name].overlap)]
        sides = [side for side in ("local", "edge") if all(side in pair for pair in pairs)]
        seconds = {side: statistics.median(pair[side]["seconds"] for pair in pairs) for side in sides}
        returns = {side: " · ".join(f"{pair[side]['return_mean']:.1f}" for pair in pairs) for side in sides}
        row += [f"{seconds[side]:.1f}" if side in seconds else "" for side in ("local", "edge")]
        if case.ratio is None:
            row += ["", ""]
        else:
            ratio = statistics.median(pair["edge"]["seconds"] / pair["local"]["seconds"] for pair in pairs)
            row += [f"**{ratio:.2f}**", f"at most {case.ratio}" + (" **missed**" if ratio > case.ratio else "")]
        reached = statistics.mean(pair["edge"]["return_mean"] for pair in pairs)
        worst = min(pair["edge"]["return_mean"] for pair in pairs) if case.each else reached
        must = f"{case.threshold:g}" + (" **missed**" if worst < case.threshold else "")
        rows.append([*row, returns.get("local", ""), returns["edge"], must])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def missed(measured: dict[str, Any]) -> bool:
    return "**missed**" in table(measured)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--round-trip-ms", type=float, default=20.0)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the steps: for a quick look, written nowhere")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/edge.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/edge-results.md")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, url, seed, fraction = arguments.child
        child(name, url, int(seed), float(fraction))
        return 0
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(CASES)}")
    measured: dict[str, Any] = {}
    for name in arguments.cases or CASES:
        measured[name] = []
        with (
            served(CASES[name].target, variables=_ONE_THREAD) as server,
            DelayProxy(server.url, arguments.round_trip_ms) as proxy,
        ):
            for seed in arguments.seeds:
                urls = {"edge": proxy.url} if CASES[name].ratio is None else {"local": "", "edge": proxy.url}
                pair = {side: trained(name, url, seed, arguments.fraction) for side, url in urls.items()}
                measured[name].append(pair)
                print(name, seed, json.dumps(pair), file=sys.stderr, flush=True)
    print(table(measured))
    if arguments.fraction < 1.0:
        return 0
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {"pairs": {}}
    about = machine()
    kept = {"machine": about, "pairs": {**kept["pairs"], **measured}}
    arguments.results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = [
        "# Training at the edge",
        "",
        f"Written by `python benchmarks/train_at_the_edge.py`: a round trip of {arguments.round_trip_ms:g} ms, seeds "
        f"{', '.join(map(str, arguments.seeds))}, with `env.placement=edge` and, where a time is asked for, locally in "
        "turn; medians (the ratio's is that of the pairs' ratios).",
        "",
        table(kept["pairs"]),
        "",
        "{cpu}, {cores} cores, Python {python}, torch {torch}, {date}, commit {commit}".format(**about),
        "",
    ]
    arguments.page.write_text("\n".join(text), encoding="utf-8")
    return int(missed(measured))


if __name__ == "__main__":
    sys.exit(main())
