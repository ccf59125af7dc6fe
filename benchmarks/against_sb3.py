"""Training side by side with Stable-Baselines3: the same settings, seeds and threads, on this machine, now.

    python benchmarks/against_sb3.py [ppo dqn dqn_five_steps ddpg td3 sac] [--repeats 3] [--fraction 1.0]

Each training has a fresh process, one after the other, A B A B. Timed is training alone: neither imports (a throw-away
training of a few steps comes first, since both import on first use) nor construction, nor evaluation, checkpoints along
the way or TensorBoard, on either side, nor what rlbridge writes when the last gradient step is done. Settings are
those that rl-baselines3-zoo publishes (commit 22e3ff2). Returns are means over 50 deterministic episodes, played the
same way. Where others use the machine too, the ratio of processor seconds tells more than that of wall seconds.

Full-length measurements go to benchmarks/results/against_sb3.json and from there to docs/benchmarks.md.
Ends with 1 if a full-length ratio is below what it must be.
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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from learn import ROOT, machine

EPISODES, EVALUATION_SEED = 50, 123_456
SIDES = ("stable-baselines3", "rlbridge")


@dataclass(frozen=True)
class Case:
    """One training on both sides.

    Attributes:
        target, num_envs, steps: what is trained on.
        ours: the sections algorithm and network of a run file.
        theirs: keyword arguments of the class in Stable-Baselines3; ``policy_kwargs`` among them.
        must, aim: how many times as fast rlbridge is to be.
        repeats: pairs that it takes to see what the returns are.
    """

    target: str
    num_envs: int
    steps: int
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    must: float
    aim: float
    repeats: int = 3


_PENDULUM: dict[str, Any] = {"gamma": 0.98, "learning_starts": 10_000, "learning_rate": 1e-3, "batch_size": 256}
# Theirs begin as PyTorch's own layers do, all but PPO's.
_BEGINS = {"activation": "relu", "initialisation": "uniform"}
_WIDE = {"hidden": [400, 300], **_BEGINS}
CASES = {
    "ppo": Case(
        "CartPole-v1",
        8,
        100_000,
        {
            "algorithm": {
                "name": "ppo",
                "rollout_steps": 32,
                "epochs": 20,
                "minibatch_size": 256,
                "gamma": 0.98,
                "gae_lambda": 0.8,
                "learning_rate": 1e-3,
                "learning_rate_schedule": "linear",
                "clip_range": 0.2,
                "clip_range_schedule": "linear",
                "normalise_observations": False,
                "normalise_rewards": False,
            },
            "network": {"hidden": [64, 64], "activation": "tanh"},
        },
        {
            "n_steps": 32,
            "n_epochs": 20,
            "batch_size": 256,
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "learning_rate": lambda remaining: 1e-3 * remaining,
            "clip_range": lambda remaining: 0.2 * remaining,
        },
        must=2.5,
        aim=5.0,
    ),
    "dqn": Case(
        "CartPole-v1",
        1,
        50_000,
        {
            "algorithm": {
                "name": "dqn",
                "double": False,
                "n_step": 1,
                "learning_rate": 2.3e-3,
                "learning_rate_schedule": "constant",
                "batch_size": 64,
                "learning_starts": 1_000,
                "train_every": 256,
                "updates_per_step": 0.5,
                # Theirs counts environment steps: every 10 of them, so once after each bout of 128 gradient steps.
                "target_every": 128,
                "tau": 1.0,
                "max_gradient_norm": 10.0,
                "epsilon_fraction": 0.16,
                "epsilon_end": 0.04,
            },
            "network": {"hidden": [256, 256], **_BEGINS},
        },
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "train_freq": 256,
            "gradient_steps": 128,
            "target_update_interval": 10,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
        must=2.2,
        aim=4.0,
        repeats=9,
    ),
    "ddpg": Case(
        "Pendulum-v1",
        1,
        20_000,
        {"algorithm": {"name": "ddpg", "replay_size": 200_000, "noise_std": 0.1, **_PENDULUM}, "network": _WIDE},
        {**_PENDULUM, "buffer_size": 200_000, "policy_kwargs": {"net_arch": [400, 300]}, "noise_std": 0.1},
        must=1.5,
        aim=3.0,
    ),
    "td3": Case(
        "Pendulum-v1",
        1,
        20_000,
        {"algorithm": {"name": "td3", "replay_size": 200_000, "noise_std": 0.1, **_PENDULUM}, "network": _WIDE},
        {**_PENDULUM, "buffer_size": 200_000, "policy_kwargs": {"net_arch": [400, 300]}, "noise_std": 0.1},
        must=1.5,
        aim=3.0,
    ),
    "sac": Case(
        "Pendulum-v1",
        1,
        20_000,
        {
            "algorithm": {"name": "sac", "learning_rate": 1e-3, "learning_starts": 100, "replay_size": 1_000_000},
            "network": {"hidden": [256, 256], **_BEGINS},
        },
        {"learning_rate": 1e-3, "learning_starts": 100, "buffer_size": 1_000_000, "batch_size": 256},
        must=2.0,
        aim=3.0,
    ),
}
_DQN = CASES["dqn"]
CASES["dqn_five_steps"] = replace(
    _DQN,
    ours={**_DQN.ours, "algorithm": {**_DQN.ours["algorithm"], "n_step": 5}},
    theirs={**_DQN.theirs, "n_steps": 5},
    repeats=3,
)


def train_ours(name: str, steps: int, seed: int, learning_starts: int | None) -> dict[str, Any]:
    """Seconds of training and what came of it; ``learning_starts`` in place of the case's own, where there is one."""
    from rlbridge.config import load_config
    from rlbridge.learn.trainer import Trainer

    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        algorithm = {**case.ours["algorithm"], "total_steps": steps}
        if learning_starts is not None:
            algorithm["learning_starts"] = learning_starts
        config = load_config(
            {
                "env": {"target": case.target, "num_envs": case.num_envs},
                "algorithm": algorithm,
                "network": case.ours["network"],
                "evaluation": {"every": 0},
                "checkpoint": {"every": 0},
                "run": {"dir": folder, "seed": seed, "tensorboard": False},
            }
        )
        clock = Clock()

        def watch(step: int, metrics: Mapping[str, float]) -> None:
            if step >= steps:
                clock.stop()

        trainer = Trainer(config, progress=False, callback=watch)
        clock.start()
        trainer.run()
    return {**clock.read(), "steps": trainer.steps, "actor": trainer.learner.policy}


def train_theirs(name: str, steps: int, seed: int, learning_starts: int | None) -> dict[str, Any]:
    import numpy as np
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise

    case = CASES[name]
    envs = make_vec_env(case.target, case.num_envs, seed=seed)
    options = dict(case.theirs)
    if "noise_std" in options:
        width = envs.action_space.shape[0]
        options["action_noise"] = NormalActionNoise(np.zeros(width), np.full(width, options.pop("noise_std")))
    if learning_starts is not None:
        options["learning_starts"] = learning_starts
    model = getattr(stable_baselines3, case.ours["algorithm"]["name"].upper())(
        "MlpPolicy", envs, seed=seed, device="cpu", **options
    )
    clock = Clock()
    clock.start()
    model.learn(steps)
    clock.stop()
    return {**clock.read(), "steps": model.num_timesteps, "actor": _Actor(model)}


class Clock:
    """Wall seconds and this process's processor seconds, from the start to the first stop."""

    def start(self) -> None:
        self._started = time.perf_counter(), time.process_time()
        self._stopped: tuple[float, float] | None = None

    def stop(self) -> None:
        self._stopped = self._stopped or (time.perf_counter(), time.process_time())

    def read(self) -> dict[str, float]:
        assert self._stopped is not None
        wall, processor = (end - begin for begin, end in zip(self._started, self._stopped, strict=True))
        return {"seconds": wall, "processor_seconds": processor}


class _Actor:
    """A model of theirs, as :func:`rlbridge.play.evaluate` wants it."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        return self.model.predict(observation, deterministic=deterministic)[0]


def child(name: str, side: str, seed: int, fraction: float) -> None:
    """Train on one side and print the result as JSON."""
    import torch

    from rlbridge.client import make_vec
    from rlbridge.play import evaluate

    torch.set_num_threads(1)
    case = CASES[name]
    train = train_ours if side == "rlbridge" else train_theirs
    off_policy = "learning_starts" in case.theirs
    train(name, 600, seed, 0 if off_policy else None)
    starts = int(case.theirs["learning_starts"] * fraction) if off_policy else None
    result = train(name, int(case.steps * fraction), seed, starts)
    envs = make_vec(case.target, 10, autoreset_mode="SameStep")
    played = evaluate(result.pop("actor"), envs, EPISODES, EVALUATION_SEED)
    print(json.dumps({**result, "return_mean": played.return_mean}))


def measure(name: str, side: str, seed: int, fraction: float) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, __file__, "--child", name, side, str(seed), str(fraction)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **_ONE_THREAD})
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def summary(name: str, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of both sides, and of the pairs' own ratios."""
    seconds = {side: statistics.median(pair[side]["seconds"] for pair in pairs) for side in SIDES}
    rate = {side: statistics.median(pair[side]["steps"] / pair[side]["seconds"] for pair in pairs) for side in SIDES}
    ratios = [pair[SIDES[0]]["seconds"] / pair[SIDES[1]]["seconds"] for pair in pairs]
    processor = statistics.median(
        pair[SIDES[0]]["processor_seconds"] / pair[SIDES[1]]["processor_seconds"] for pair in pairs
    )
    returns = {side: [pair[side]["return_mean"] for pair in pairs] for side in SIDES}
    ratio = statistics.median(ratios)
    return {
        "name": name,
        "seconds": seconds,
        "rate": rate,
        "ratios": ratios,
        "ratio": ratio,
        "processor": processor,
        "returns": returns,
    }


def table(summaries: list[dict[str, Any]]) -> str:
    theirs, ours = SIDES
    header = ["training", "SB3 s", "rlbridge s", "SB3 steps/s", "rlbridge steps/s", "times as fast", "must", "aim"]
    header += ["by processor time", "SB3 return", "rlbridge return"]
    rows = [header, ["---"] * len(header)]
    for s in summaries:
        case = CASES[s["name"]]
        ratio = f"**{s['ratio']:.2f}** ({min(s['ratios']):.2f} to {max(s['ratios']):.2f})"
        rows.append(
            [
                f"{s['name'].upper().replace('_', ' ')} {case.target} {case.steps // 1000}k",
                f"{s['seconds'][theirs]:.1f}",
                f"{s['seconds'][ours]:.1f}",
                f"{s['rate'][theirs]:,.0f}",
                f"{s['rate'][ours]:,.0f}",
                ratio,
                f"{case.must}" + ("" if s["ratio"] >= case.must else " **missed**"),
                f"{case.aim:g}",
                f"{s['processor']:.2f}",
                _spread(s["returns"][theirs]),
                _spread(s["returns"][ours]),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _spread(values: list[float]) -> str:
    """The median, and the lowest and highest where there are several."""
    text = f"{statistics.median(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f} to {max(values):.1f})"


def page(measured: Mapping[str, Any]) -> str:
    """docs/benchmarks.md."""
    found = [(name, measured[name]) for name in CASES if name in measured]
    text = [
        "# Benchmarks",
        "",
        "## Training against Stable-Baselines3",
        "",
        "Written by `python benchmarks/against_sb3.py` (part of `make bench`). Same settings (those that "
        "rl-baselines3-zoo publishes), seeds and one thread on both sides; each training in a fresh process, the two "
        "sides in turn. Seconds are of training alone, without imports, construction, evaluation, checkpoints on the "
        "way and TensorBoard. Medians over the repeats, the lowest and the highest in brackets; a return is the mean "
        f"of {EPISODES} deterministic episodes of a final policy. DQN's settings leave the final policy to chance on "
        "both sides: one seed ends at 500, the next at 110, hence its nine pairs, and beside them DQN with targets of "
        "five steps on both sides, which leave less to it. On a shared machine absolute figures move by up "
        "to twice: the ratios count.",
        "",
        table([summary(name, entry["pairs"]) for name, entry in found]),
        "",
        *(
            "- {}: {} repeats, stable-baselines3 {}, {cpu}, {cores} cores, Python {python}, torch {torch}, {date}, "
            "commit {commit}".format(name, len(entry["pairs"]), entry["sb3"], **entry["machine"])
            for name, entry in found
        ),
        "",
    ]
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--repeats", type=int, help="pairs, with seeds 0, 1, ...; by default 3, and 9 of dqn")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the steps: for a quick look, written nowhere")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results/against_sb3.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/benchmarks.md")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, side, seed, fraction = arguments.child
        child(name, side, int(seed), float(fraction))
        return 0
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are {', '.join(CASES)}")
    names = arguments.cases or list(CASES)
    summaries = []
    for name in names:
        pairs = []
        for seed in range(arguments.repeats or CASES[name].repeats):
            pairs.append({side: measure(name, side, seed, arguments.fraction) for side in SIDES})
            times = [f"{side} {pairs[-1][side]['seconds']:.1f} s" for side in SIDES]
            times += [f"(processor {pairs[-1][side]['processor_seconds']:.1f} s)" for side in SIDES]
            seconds = f"{times[0]} {times[2]}, {times[1]} {times[3]}"
            print(f"{name} seed {seed}: {seconds}", file=sys.stderr, flush=True)
        summaries.append(summary(name, pairs))
        if arguments.fraction == 1.0:
            _keep(arguments.results, name, pairs)
            arguments.page.write_text(page(json.loads(arguments.results.read_text())), encoding="utf-8")
    print(table(summaries))
    if arguments.fraction < 1.0:
        print(f"(with {arguments.fraction:g} of the steps)")
        return 0
    return 1 if any(s["ratio"] < CASES[s["name"]].must for s in summaries) else 0


def _keep(path: Path, name: str, pairs: list[dict[str, Any]]) -> None:
    """Put a case's pairs beside those of the other cases."""
    from importlib.metadata import version

    measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    measured[name] = {"sb3": version("stable-baselines3"), "machine": machine(), "pairs": pairs}
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
