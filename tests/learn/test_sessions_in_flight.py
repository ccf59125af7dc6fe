"""A batch in two parts: while one steps, the policy acts for the other, and timing has no say in any number."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from scripted import Counter, Disowning, Poisoned, collector_for, learner_for

import rlbridge
from rlbridge.config import ConfigError, load_config
from rlbridge.learn import Stopped, weights_digest
from rlbridge.learn.gate_counts import GateCounts
from rlbridge.learn.split_envs import SplitEnvs
from rlbridge.play.actions import NotFinite
from rlbridge.server.limits import ServerLimits
from rlbridge.wire.errors import BridgeError
from tests.conftest import ROOT

SAME, NEXT = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP
LENGTHS = (3, 5, 4, 9)
SMALL = {
    "ppo": ("Pendulum-v1", {"name": "ppo", "rollout_steps": 32, "minibatch_size": 32, "epochs": 2}),
    "ddpg": (
        "Pendulum-v1",
        {
            "name": "ddpg",
            "noise": "ornstein_uhlenbeck",
            "noise_std": 0.3,
            "learning_starts": 60,
            "batch_size": 16,
            "updates_per_step": 0.25,
        },
    ),
}


class Sender(VectorWrapper):
    """Steps in two halves, as environments on a server do, and writes down what it is asked for."""

    def __init__(self, env, name, log):
        super().__init__(env)
        self.name, self.log, self.sent = name, log, None

    def reset(self, **kwargs):
        assert self.sent is None, "a step is under way"
        self.log.append(("reset", self.name))
        return self.env.reset(**kwargs)

    def send(self, actions):
        assert self.sent is None, "a step is under way"
        self.log.append(("send", self.name))
        self.sent = actions

    def recv(self):
        self.log.append(("recv", self.name))
        actions, self.sent = self.sent, None
        return self.env.step(actions)


def halves(mode=SAME, wrap=lambda envs, half: envs):
    """Counters of four lengths, two in each part."""
    parts = [SyncVectorEnv([lambda n=n: Counter(n) for n in LENGTHS[i : i + 2]], autoreset_mode=mode) for i in (0, 2)]
    return SplitEnvs([wrap(part, half) for half, part in enumerate(parts)])


def ppo(envs, **settings):
    sizes = {"rollout_steps": 13, "minibatch_size": 13, "epochs": 1, **settings}
    return learner_for(envs, network={"hidden": [8]}, **sizes)


def collected(envs, rollouts=2):
    learner = ppo(envs)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(envs.num_envs)
    filled = []
    for _ in range(rollouts):
        collector.collect(rollout)
        filled.append(rollout.state_dict(rollout.steps))
    return collector, filled


def flat(rollouts):
    names = ("observation", "action_np", "reward", "terminated", "truncated", "valid")
    finals = [[part.tolist() for part in one["final"] or ()] for one in rollouts]
    return [[one[name].tolist() for name in names] for one in rollouts], finals


@pytest.mark.parametrize("mode", [SAME, NEXT])
def test_two_parts_fill_a_rollout_with_the_transitions_that_one_does(mode):
    whole = SyncVectorEnv([lambda n=n: Counter(n) for n in LENGTHS], autoreset_mode=mode)
    one, two = collected(whole), collected(halves(mode))
    assert flat(one[1]) == flat(two[1])
    assert one[0].transitions == two[0].transitions
    ended = [sorted((e.total, e.length) for e in collector.take_episodes()) for collector, _ in (one, two)]
    assert len(ended[0]) > 10
    assert ended[0] == ended[1]


def log_settling(group, part, log):
    settle = group.settle
    group.settle = lambda transitions: log.append(("settle", part)) or settle(transitions)


def test_while_one_part_steps_the_policy_acts_for_the_other():
    log = []
    envs = halves(wrap=lambda part, half: Sender(part, "ab"[half], log))
    learner = ppo(envs, rollout_steps=3)
    draw = learner.policy.draw
    learner.policy.draw = lambda rows, noise: log.append(("act", len(rows))) or draw(rows, noise)
    collector = collector_for(envs, learner.policy)
    for group, part in zip(collector.groups, "ab", strict=True):
        log_settling(group, part, log)
    collector.collect(learner.rollout(4))
    # What a step led to is sorted out while the next one is under way: only the observation is waited for.
    turn = [[("recv", part), ("act", 2), ("send", part), ("settle", part)] for part in "ab"]
    first = [turn[0][1:-1], turn[1][1:-1]]
    last = [("recv", "a"), ("settle", "a"), ("recv", "b"), ("settle", "b")]
    expected = [[("reset", "a"), ("reset", "b")], *first, *turn, *turn, last]
    assert log == [event for events in expected for event in events]


def test_off_policy_acts_for_the_second_part_and_learns_while_the_first_one_steps(tmp_path):
    from loops import trained

    log = []
    parts = halves(wrap=lambda part, half: Sender(part, "ab"[half], log))
    trained(tmp_path, parts, name="dqn", learning_starts=40, batch_size=8, total_steps=80)
    steps = [event for event in log if event[0] != "reset"]
    assert steps == [("send", "a"), ("send", "b"), ("recv", "a"), ("recv", "b")] * (len(steps) // 4)


def test_rows_that_a_part_disowns_are_dropped_and_nobody_elses():
    envs = halves(wrap=lambda part, half: Disowning(part, every=4) if half else part)
    collector, (rollout, _) = collected(envs)
    assert (~rollout["valid"]).sum(axis=0).tolist() == [0, 0, 3, 0]
    assert collector.dropped == 6


def test_what_is_not_finite_is_told_by_its_row_of_the_whole_batch():
    parts = [SyncVectorEnv([lambda: Counter(50)] * 2, autoreset_mode=SAME) for _ in range(2)]
    parts[1] = SyncVectorEnv([lambda: Counter(50), lambda: Poisoned(5, "reward")], autoreset_mode=SAME)
    with pytest.raises(NotFinite, match=r"row 3 gave the reward .*nan.* at step 20\b"):
        collected(SplitEnvs(parts))


def test_every_row_has_its_seed_of_the_whole_batch():
    class Seeded(Counter):
        def reset(self, *, seed=None, options=None):
            self.seed = seed
            return super().reset(seed=seed, options=options)

    def seeds(envs, parts):
        collector_for(envs, ppo(envs).policy).reset()
        return [env.seed for part in parts for env in part.envs]

    whole = SyncVectorEnv([Seeded] * 4, autoreset_mode=SAME)
    split = SplitEnvs([SyncVectorEnv([Seeded] * 2, autoreset_mode=SAME) for _ in range(2)])
    assert seeds(whole, [whole]) == seeds(split, split.parts)


def breaking_off(call, error):
    calls = count(1)

    def check():
        if next(calls) == call:
            raise error

    return check


def test_a_stop_receives_what_is_under_way_and_the_rollout_goes_on_there():
    log = []
    envs = halves(wrap=lambda part, half: Sender(part, "ab"[half], log))
    learner = ppo(envs)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(4)
    with pytest.raises(Stopped):
        collector.collect(rollout, breaking_off(6, Stopped("enough")))
    assert (collector.filled, collector.transitions) == (5, 20)
    assert [event for event in log if event[0] == "recv"] == [("recv", "a"), ("recv", "b")] * 5
    collector.collect(rollout)
    assert flat([rollout.state_dict(13)]) == flat(collected(halves(), rollouts=1)[1])


def test_after_a_failure_new_episodes_begin_and_the_steps_under_way_are_nobodys():
    envs = halves(wrap=lambda part, half: Sender(part, "ab"[half], []))
    learner = ppo(envs)
    collector, rollout = collector_for(envs, learner.policy), learner.rollout(4)
    with pytest.raises(InterruptedError):
        collector.collect(rollout, breaking_off(6, InterruptedError()))
    with pytest.raises(Stopped):  # before anything has begun anew
        collector.collect(rollout, breaking_off(1, Stopped("enough")))
    assert (collector.transitions, collector.filled) == (0, 0)
    collector.collect(rollout)
    assert (rollout.observation_np[0, :, 1] == 0.0).all()
    assert collector.transitions == 52


def test_gates_are_counted_over_all_parts():
    gates, valid = GateCounts(4), np.ones(2, np.bool_)
    for misses in (1, 2):  # of the present episodes so far
        for rows in (slice(0, 2), slice(2, 4)):
            told = {"corrected": np.array([True, False]), "deadline_misses": np.array([misses, 0])}
            gates.add(told, valid, rows)
    assert gates.take() == {"plant/clipped_fraction": 0.5, "plant/deadline_misses": 4.0}


# ------------------------------------------------------------------------------------------------------- whole runs


def settings(folder, name, which="ppo", env=None, total_steps=600, **sections):
    target, algorithm = SMALL[which]
    return {
        "env": {"target": target, "num_envs": 4, "sessions": 2, **(env or {})},
        "algorithm": {**algorithm, "total_steps": total_steps},
        "network": {"hidden": [8]},
        "evaluation": {"every": 300, "episodes": 2},
        "run": {"name": name, "dir": str(folder), "tensorboard": False},
        **sections,
    }


@pytest.fixture(autouse=True, scope="module")
def without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlbridge.learn.trainer.draw_curve", lambda *args: None)
        patch.setattr("rlbridge.learn.trainer.export_at_end", lambda *args: None)
        yield


@pytest.mark.parametrize("which", SMALL)
def test_the_same_weights_twice_here_and_over_grpc(which, serve, tmp_path):
    url = serve("Pendulum-v1").urls[0]
    targets = {"here": "Pendulum-v1", "again": "Pendulum-v1", "there": url, "there_again": url}
    runs = [
        rlbridge.train(settings(tmp_path, name, which, {"target": target}), progress=False)
        for name, target in targets.items()
    ]
    assert len({weights_digest(run.policy) for run in runs}) == 1
    assert len({(run.dir / "episodes.csv").read_text() for run in runs}) == 1


def test_processes_make_no_difference_to_the_weights_of_two_parts(tmp_path):
    unevaluated = {"evaluation": {"every": 0}}
    here, apart = (
        rlbridge.train(
            settings(tmp_path, name, env={"processes": processes, "num_envs": 2}, **unevaluated), progress=False
        )
        for name, processes in (("here", False), ("apart", True))
    )
    assert weights_digest(here.policy) == weights_digest(apart.policy)


@pytest.mark.parametrize("which", SMALL)
@pytest.mark.parametrize("calls", [40, 93])
def test_stopped_and_resumed_is_not_stopped(which, calls, tmp_path, monkeypatch):
    whole = rlbridge.train(settings(tmp_path, "whole", which), progress=False)
    with monkeypatch.context() as patch:
        patch.setattr("rlbridge.learn.stops.Stops.check", _stopping_at(calls))
        cut = rlbridge.train(settings(tmp_path, "cut", which), progress=False)
    assert cut.stop_reason == "enough"
    assert weights_digest(rlbridge.resume(cut.dir, progress=False).policy) == weights_digest(whole.policy)
    assert (cut.dir / "episodes.csv").read_text() == (whole.dir / "episodes.csv").read_text()


def _stopping_at(calls):
    check = breaking_off(calls, Stopped("enough"))
    return lambda self: check()


def test_a_remote_run_that_restarts_its_episodes_resumes_to_the_bit(serve, tmp_path):
    env = {"target": serve("Pendulum-v1").urls[0]}
    restarting = {"checkpoint": {"every": 200, "restart_episodes": True}}

    def stop(step, values):
        if step >= 300:
            raise Stopped("enough")

    whole = rlbridge.train(settings(tmp_path, "whole", env=env, **restarting), progress=False)
    cut = rlbridge.train(settings(tmp_path, "cut", env=env, **restarting), progress=False, callback=stop)
    assert cut.steps < 600
    assert weights_digest(rlbridge.resume(cut.dir, progress=False).policy) == weights_digest(whole.policy)


def test_a_run_may_go_on_in_other_parts(tmp_path):
    run = rlbridge.train(settings(tmp_path, "r", total_steps=256), progress=False)
    resumed = rlbridge.resume(run.dir, ["env.sessions=4", "algorithm.total_steps=512"], progress=False)
    assert resumed.steps == 512
    assert "the environments are restored" in (run.dir / "log.txt").read_text()


def test_a_server_with_room_for_one_session_refuses_and_the_first_one_is_closed(serve, tmp_path):
    url = serve("Pendulum-v1", limits=ServerLimits(max_sessions=1)).urls[0]
    with pytest.raises(BridgeError, match="1 of 1 sessions are open"):
        rlbridge.train(settings(tmp_path, "r", env={"target": url, "retry_for": 0}), progress=False)
    rlbridge.make(url).close()  # there is room again


def test_a_plant_that_one_session_holds_is_refused_to_the_second_one_and_free_again(serve, tmp_path):
    (tmp_path / "serve.yaml").write_text(
        f"env: {ROOT}/tests/plants/tanks.py:LiveTank\n"
        "gate: {safe_action: {valve: 0.2, pump: 0}, audit: audit.jsonl}\n"
        "clock: {period: 50 ms, real_time: true}\ntask: {reward: -level, horizon: 10}\n"
    )
    url = serve(str(tmp_path)).urls[0]
    with pytest.raises(BridgeError, match="another session holds the plant"):
        rlbridge.train(settings(tmp_path, "r", env={"target": url, "num_envs": 2}), progress=False)
    rlbridge.make(url).close()


def test_sessions_are_for_a_policy_that_acts_here():
    with pytest.raises(ConfigError, match=r"env\.sessions = 2 has no effect with env\.placement = edge"):
        load_config({"env": {"target": "grpc://host:1", "placement": "edge", "sessions": 2}})
