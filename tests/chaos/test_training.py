"""Training through a bad network is the training there would have been; through a server's death it goes on."""

from __future__ import annotations

import json
import threading

import pytest

import rlbridge
from rlbridge.learn import Run, weights_digest

FULL = [pytest.mark.slow, pytest.mark.timeout(1500)]


def train(target: str, folder, name: str, steps: int, callback=None, evaluation=None, sessions: int = 1) -> Run:
    settings = {
        "env": {"target": target, "sessions": sessions},
        "algorithm": {"name": "ppo", "total_steps": steps},
        "evaluation": evaluation or {"every": 0},
        "run": {"name": name, "dir": str(folder), "seed": 1, "tensorboard": False},
    }
    return rlbridge.train(settings, progress=False, callback=callback)


def metrics(run: Run) -> list[dict]:
    """Every row of numbers, but those about time and the link."""
    rows = map(json.loads, (run.dir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds" and not k.startswith(("time/", "bridge/"))} for row in rows]


@pytest.mark.parametrize(
    ("steps", "cuts", "sessions"), [(3_000, 8, 1), (1_500, 4, 2), pytest.param(50_000, 200, 1, marks=FULL)]
)
def test_weights_through_a_link_that_is_cut_are_those_of_the_undisturbed_run(
    served, proxied, tmp_path, steps, cuts, sessions
):
    url = served("CartPole-v1")
    evaluation = {"every": steps // 2, "episodes": 2}
    undisturbed = train(url, tmp_path, "undisturbed", steps, evaluation=evaluation, sessions=sessions)
    proxy = proxied(url, seed=4, every=(1, 12_000), most=cuts)
    cut = train(proxy.url, tmp_path, "cut", steps, evaluation=evaluation, sessions=sessions)
    print(f"{proxy.counters()}, weights {weights_digest(cut.policy)[:16]}")
    assert proxy.counters()["cuts"] == cuts
    assert weights_digest(cut.policy) == weights_digest(undisturbed.policy)
    assert metrics(cut) == metrics(undisturbed)


class Deaths:
    """Kills a server with SIGKILL, at whatever it is doing, and starts it again at the same address."""

    def __init__(self, serve_process, scheme: str) -> None:
        self._serve = serve_process
        self._process, (self.url,) = serve_process("CartPole-v1", "--bind", f"{scheme}://127.0.0.1:0")
        self._thread: threading.Thread | None = None
        self.count = 0

    def strike(self) -> None:
        """In another thread: whoever trains goes on meanwhile."""
        self.rest()
        self._thread = threading.Thread(target=self._kill_and_restart)
        self._thread.start()

    def rest(self) -> None:
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive()

    def _kill_and_restart(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._process, _ = self._serve("CartPole-v1", "--bind", self.url)
        self.count += 1


@pytest.mark.parametrize(
    ("steps", "deaths", "threshold", "sessions"),
    [(3_000, 1, 0, 1), (1_500, 1, 0, 2), pytest.param(100_000, 3, 475, 1, marks=FULL)],
)
def test_training_outlives_its_server_and_says_how_many_rows_it_left_out(
    serve_process, scheme, tmp_path, steps, deaths, threshold, sessions
):
    server = Deaths(serve_process, scheme)
    due = [steps * (i + 1) // (deaths + 1) for i in range(deaths)]

    def callback(step: int, values) -> None:
        if due and step >= due[0]:
            due.pop(0)
            server.strike()

    run = train(server.url, tmp_path, "mortal", steps, callback, sessions=sessions)
    server.rest()
    score = run.evaluate(episodes=20).return_mean
    dropped = metrics(run)[-1]["rollout/dropped"]
    print(f"{server.count} deaths, {dropped:g} rows left out, return {score} over 20 episodes")
    assert run.steps >= steps
    assert run.stop_reason == "total_steps"
    assert server.count == deaths
    assert dropped == deaths * run.config.env.num_envs
    assert score >= threshold
