"""Training with the policy at the server: the same run on every transport, every time, and as good."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import rlbridge
from rlbridge.config import ConfigError, load_config
from rlbridge.learn import resume, weights_digest
from rlbridge.learn.edge import EdgeCollector
from rlbridge.learn.edge_play import EdgePlay
from rlbridge.learn.environments import make_envs
from rlbridge.learn.stops import Stopped
from rlbridge.learn.trainer import Trainer
from rlbridge.play import evaluate

ALGORITHMS = {
    "ppo": {"total_steps": 1_024, "rollout_steps": 32, "minibatch_size": 64, "epochs": 2},
    "dqn": {"total_steps": 700, "learning_starts": 100, "batch_size": 32},
    "ddpg": {"total_steps": 500, "learning_starts": 100, "batch_size": 32, "noise": "ornstein_uhlenbeck"},
    "td3": {"total_steps": 500, "learning_starts": 100, "batch_size": 32, "normalise_observations": True},
    "sac": {"total_steps": 500, "learning_starts": 100, "batch_size": 32},
}


def settings(url: str, folder, name: str, learner: str, env: dict | None = None, **more) -> dict:
    return {
        "env": {"target": url, "num_envs": 4, "placement": "edge", **(env or {})},
        "algorithm": {"name": learner, **ALGORITHMS[learner], **more.pop("algorithm", {})},
        "network": {"hidden": [16, 16]},
        "evaluation": {"every": ALGORITHMS[learner]["total_steps"] // 2, "episodes": 2},
        "run": {"name": name, "dir": str(folder), "seed": 3, "tensorboard": False},
        **more,
    }


def target(serve, algorithm: str, **options) -> rlbridge.Server:
    env = "CartPole-v1" if algorithm in ("ppo", "dqn") else "Pendulum-v1"
    return serve(env, **options)


@pytest.mark.parametrize(
    ("algorithm", "overlap"), [*((name, 1) for name in ALGORITHMS), ("ppo", 0), ("dqn", 0), ("ppo", 3), ("sac", 4)]
)
def test_every_algorithm_learns_the_same_on_every_transport(serve, tmp_path, algorithm, overlap):
    urls = target(serve, algorithm, bind=["grpc://127.0.0.1:0", "http://127.0.0.1:0"]).urls
    runs = [
        rlbridge.train(settings(url, tmp_path, f"{i}", algorithm, {"overlap": overlap}), progress=False)
        for i, url in enumerate(urls)
    ]
    assert len({weights_digest(run.policy) for run in runs}) == 1
    assert {run.steps for run in runs} == {runs[0].steps}
    assert runs[0].steps >= ALGORITHMS[algorithm]["total_steps"]


def trainer_for(serve, tmp_path, algorithm: str, **env) -> Trainer:
    url = target(serve, algorithm).urls[0]
    return Trainer(load_config(settings(url, tmp_path, "one", algorithm, env)), progress=False)


def test_log_probabilities_that_were_sent_are_torchs_own(serve, tmp_path):
    trainer = trainer_for(serve, tmp_path, "ppo", overlap=0)
    assert isinstance(trainer.collector, EdgeCollector)
    for _ in range(3):
        trainer.collector.collect(trainer.loop.rollout)
        rollout, policy = trainer.loop.rollout, trainer.learner.policy
        with torch.no_grad():
            outputs = policy(rollout.observation[:-1].flatten(0, 1))
            wanted = policy.distribution.log_prob(outputs, rollout.action.flatten(0, 1))
        np.testing.assert_allclose(rollout.log_prob.flatten(), wanted.numpy(), rtol=1e-4, atol=1e-5)
        trainer.learner.update(rollout, 0.0)
    trainer.envs.close()
    trainer.folder.release()


def test_with_overlap_a_rollout_is_of_the_policy_so_many_updates_before(serve, tmp_path):
    for lag in (0, 1, 3):
        trainer = trainer_for(serve, tmp_path / str(lag), "ppo", overlap=lag)
        collector = trainer.collector
        for updates in range(4):
            trainer.loop.advance(lambda: None)
            # Versions count the policies that were sent, one before each rollout.
            assert collector._result.policy_version == updates + 1
            assert collector.clock == 32 * (updates + 1)
            assert collector.versions == min(updates + 1 + lag, 8)
        trainer.envs.close()
        trainer.folder.release()


def test_after_a_rollout_that_failed_the_next_collection_begins_anew(serve, tmp_path):
    trainer = trainer_for(serve, tmp_path, "ppo", overlap=3)
    collector, envs = trainer.collector, trainer.envs
    collector.collect(trainer.loop.rollout)
    assert len(collector._asked) == 3

    def failing():
        raise rlbridge.errors.RemoteEnvError("it broke")

    received, envs.recv_rollout = envs.recv_rollout, failing
    with pytest.raises(rlbridge.errors.RemoteEnvError):
        collector.collect(trainer.loop.rollout)
    envs.recv_rollout = received
    envs._session._take_all()
    collector.collect(trainer.loop.rollout)
    assert trainer.loop.rollout.reward.all()
    trainer.envs.close()
    trainer.folder.release()


def test_no_more_can_be_under_way_than_the_server_keeps_outcomes_of(serve, tmp_path):
    with pytest.raises(rlbridge.errors.Unsupported, match=r"env.overlap = 5, but this server keeps 4 outcomes, and no"):
        trainer_for(serve, tmp_path, "ppo", overlap=5)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_an_evaluation_at_the_server_is_that_of_the_policy(serve, tmp_path, algorithm):
    trainer = trainer_for(serve, tmp_path, algorithm)
    envs, policy = make_envs(trainer.config, 4), trainer.learner.policy
    there, here = (evaluate(*played, 6, seed=5) for played in ((EdgePlay(envs, policy),) * 2, (policy, envs)))
    np.testing.assert_allclose(there.returns, here.returns, rtol=1e-3)
    for batch in (envs, trainer.envs):
        batch.close()
    trainer.folder.release()


def test_the_run_takes_no_more_steps_than_it_learns_from(serve, tmp_path):
    server = serve("tests.envs:Ledger")
    unevaluated = {"evaluation": {"every": 0}}  # those are steps, too
    run = rlbridge.train(settings(server.urls[0], tmp_path, "dqn", "dqn", **unevaluated), progress=False)
    env = rlbridge.make(server.urls[0])
    before = env.reset(options={"books": True})[1]["stepped"]
    env.close()
    assert run.steps == 700
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["rollout/dropped"] == 0
    envs = rlbridge.make(server.urls[0])
    again = rlbridge.train(settings(server.urls[0], tmp_path, "again", "dqn", **unevaluated), progress=False)
    after = envs.reset(options={"books": True})[1]["stepped"]
    envs.close()
    assert after - before == again.steps


def test_a_run_that_restarts_its_episodes_goes_on_exactly(serve, tmp_path):
    url = serve("CartPole-v1").urls[0]
    restarts = {"checkpoint": {"every": 256, "restart_episodes": True, "keep": 9}}
    whole = rlbridge.train(settings(url, tmp_path, "whole", "ppo", **restarts), progress=False)

    def stop(step: int, metrics) -> None:
        if step >= 512:
            raise Stopped("enough")

    parts = settings(url, tmp_path, "parts", "ppo", **restarts)
    assert rlbridge.train(parts, progress=False, callback=stop).steps < 1_024
    resumed = resume(tmp_path / "parts", progress=False)
    assert resumed.steps >= 1_024
    assert weights_digest(resumed.policy) == weights_digest(whole.policy)


def test_a_lost_server_costs_the_rows_under_way_and_no_more(serve, tmp_path):
    url = serve("tests.envs:Mortal").urls[0]
    run = rlbridge.train(settings(url, tmp_path, "mortal", "ppo", algorithm={"total_steps": 200}), progress=False)
    rows = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    assert max(row.get("rollout/dropped", 0) for row in rows) >= 4
    assert run.steps >= 200


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["env.target=CartPole-v1"], "'CartPole-v1' is local; serve it"),
        (["algorithm.name=dqn", "algorithm.exploration=gaussian_epsilon"], "epsilon and greedy"),
        (["env.placement=step", "env.chunk=8"], "no effect with env.placement = step"),
        (["algorithm.rollout_steps=128", "env.chunk=129"], "129 is longer than algorithm.rollout_steps = 128"),
    ],
)
def test_what_the_edge_cannot_do_is_said_before_anything_starts(overrides, words):
    with pytest.raises(ConfigError, match=words):
        load_config({"env": {"target": "grpc://127.0.0.1:1", "placement": "edge"}}, overrides)


def test_a_server_without_onnxruntime_says_what_to_install(serve, tmp_path, monkeypatch):
    monkeypatch.setattr("rlbridge.server.rollout.available", lambda: False)
    url = serve("CartPole-v1").urls[0]
    with pytest.raises(rlbridge.errors.Unsupported, match=r"pip install 'rlbridge-toolkit\[play\]'"):
        rlbridge.train(settings(url, tmp_path, "none", "ppo"), progress=False)
