"""Policies at the environment: what they do is what stepping with their actions does, and none of them harms."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import Any

import grpc
import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from onnx import TensorProto, helper

import rlbridge
from rlbridge import errors
from rlbridge.client import Rollout, RolloutPolicy
from rlbridge.learn.onnx_graph import kind_of, policy_model
from rlbridge.play.onnx_policy import OnnxPolicy
from rlbridge.server.catalog import Offer
from rlbridge.server.limits import ServerLimits
from rlbridge.v1 import env_pb2, rollout_pb2, rollout_pb2_grpc
from rlbridge.wire import BlockCodec
from tests.exported import KINDS, policy_of
from tests.server.test_exactly_once import Peer
from tests.trajectory import digest

ROWS = 3
WAYS = {
    "categorical": {},
    "diagonal_gaussian": {},
    "epsilon_greedy": {"epsilon": 0.3},
    "squashed_gaussian": {},
    "additive_gaussian": {"sigma": 0.2},
    "ornstein_uhlenbeck": {"sigma": 0.2, "theta": 0.15},
    "deterministic": {},
    "uniform": {},
}
WAY_OF = {
    "categorical": "categorical",
    "gaussian": "diagonal_gaussian",
    "greedy": "epsilon_greedy",
    "squashed_gaussian": "squashed_gaussian",
    "deterministic": "ornstein_uhlenbeck",
}


class AnySpaces(gymnasium.Env):
    """Draws observations; its reward tells the action it was given; ends now and then, either way."""

    def __init__(self, name: str) -> None:
        _, self.observation_space, self.action_space, _, _ = KINDS[name]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {"begun": float(self.np_random.random())}

    def step(self, action):
        ends = self.np_random.random(2) < 0.15
        return self._observation(), float(np.sum(action)), bool(ends[0]), bool(ends[1]), {"sum": float(np.sum(action))}

    def _observation(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()


def parts(step: Any) -> str:
    """A step's hash; infos as they are."""
    return digest(step).hexdigest()


def remote(serve, env, num_envs=ROWS, mode=AutoresetMode.SAME_STEP, **options):
    return rlbridge.make_vec(serve([Offer("env", env)]).urls[0], num_envs, autoreset_mode=mode, **options)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("name", KINDS)
def test_a_rollout_is_the_steps_that_its_actions_make(serve, name, mode):
    policy = policy_of(name)
    kind = kind_of(policy)
    sent = RolloutPolicy(kind, policy_model(policy), version=9)
    envs = remote(serve, lambda: AnySpaces(name), mode=mode)
    local = SyncVectorEnv([lambda: AnySpaces(name)] * ROWS, autoreset_mode=mode)
    with closing(envs), closing(local):
        observations, _ = local.reset(seed=4)
        envs.reset(seed=4)
        clock = 0
        for steps, way in ((7, WAY_OF[kind]), (5, "deterministic"), (6, "uniform"), (4, WAY_OF[kind])):
            envs.send_rollout(Rollout(steps, way, sent, 11, clock, WAYS[way]))
            result = envs.recv_rollout()
            assert (len(result), result.policy_version, result.error) == (steps, 9, None)
            for t in range(steps):
                encoded = torch.from_numpy(policy.encoder.batch(observations))
                with torch.no_grad():
                    outputs = policy(encoded)
                if way == "deterministic":
                    np.testing.assert_allclose(result.action[t], policy.distribution.mode(outputs), atol=1e-4)
                if result.log_prob is not None:
                    raw = torch.from_numpy(result.action[t].copy())
                    wanted = policy.distribution.log_prob(outputs, raw).detach().numpy()
                    np.testing.assert_allclose(result.log_prob[t], wanted, rtol=1e-4, atol=1e-4)
                step = local.step(policy.actions.to_environment(result.action[t]))
                assert parts(result.step(t)) == parts(step)
                observations = step[0]
            clock += steps
        action = local.action_space.sample()
        assert parts(envs.step(action)) == parts(local.step(action))  # stepping by messages goes on from there


def test_chance_does_not_depend_on_how_steps_are_cut_into_rollouts(serve):
    policy = policy_of("categorical")
    sent = RolloutPolicy("categorical", policy_model(policy))
    found = []
    for cuts in ([12], [5, 1, 6]):
        envs = remote(serve, lambda: AnySpaces("categorical"))
        with closing(envs):
            envs.reset(seed=0)
            clock, actions = 0, []
            for steps in cuts:
                envs.send_rollout(Rollout(steps, "categorical", sent, 3, clock))
                actions.append(envs.recv_rollout().action)
                clock += steps
        found.append(np.concatenate(actions))
    np.testing.assert_array_equal(*found)


def test_a_repeated_rollout_is_not_executed_again_and_other_content_is_a_conflict():
    peer = Peer(lambda: AnySpaces("categorical"), num_envs=2)
    request = Rollout(3, "uniform").request(b"")
    request.session.CopyFrom(peer.opened.session)
    request.seq, request.epoch = 2, peer.epoch
    exchange = env_pb2.ExchangeRequest(rollout=request)
    assert peer.host.execute(exchange).error.reason == "SEQ_GAP"
    peer.reset()
    first, again = peer.host.execute(exchange), peer.host.execute(exchange)
    assert len(first.rollout.steps) == 3
    assert again.rollout.replayed
    again.rollout.replayed = False
    assert again == first
    exchange = env_pb2.ExchangeRequest(rollout=request)
    exchange.rollout.sampling_seed = 1
    assert peer.host.execute(exchange).error.reason == "SEQ_CONFLICT"
    exchange.rollout.seq = 3
    assert len(peer.host.execute(exchange).rollout.steps) == 3
    peer.stop()


def test_a_rollout_ends_before_its_answer_is_too_large(serve):
    server = serve([Offer("env", lambda: AnySpaces("categorical"))], limits=ServerLimits(max_message_bytes=40_000))
    with closing(rlbridge.make_vec(server.urls[0], ROWS, autoreset_mode="SameStep")) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(100_000, "uniform"))
        result = envs.recv_rollout()
        assert 50 < len(result) < 500
        assert result.error is None


class Breaks(AnySpaces):
    """Its observation does not fit its space from the fifth step on."""

    def __init__(self) -> None:
        super().__init__("categorical")
        self.steps = 0

    def step(self, action):
        self.steps += 1
        answer = super().step(action)
        return (np.zeros(7), *answer[1:]) if self.steps >= 5 else answer


def test_what_was_done_before_a_failure_arrives_with_it(serve):
    with closing(remote(serve, Breaks, 1)) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(9, "uniform"))
        result = envs.recv_rollout()
        assert len(result) == 4
        assert isinstance(result.error, errors.RemoteEnvError)
        assert np.isfinite([result.step(t)[1] for t in range(4)]).all()
        envs.send_rollout(Rollout(9, "uniform"))
        with pytest.raises(errors.NeedsReset):
            envs.recv_rollout()
        envs.reset()


def linear(outputs: int, name: str = "logits", bias: float = 0.0, inputs: int = 3) -> Any:
    """``name = observation W + b``, as a model that may be spoilt."""
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [inputs, outputs], np.ones(inputs * outputs, "f4").tobytes(), True),
        helper.make_tensor("b", TensorProto.FLOAT, [outputs], np.full(outputs, bias, "f4").tobytes(), True),
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["observation", "w", "b"], [name])],
        "g",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", outputs])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def custom(model: Any) -> Any:
    model.graph.node[0].domain = "com.evil"
    model.opset_import.append(helper.make_opsetid("com.evil", 1))
    return model


def external(model: Any) -> Any:
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return model


def endless(model: Any) -> Any:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["observation"], ["z"], body=body))
    return model


def costly() -> Any:
    """260 products with one and the same matrix: a small file, and more than 2^30 multiplications a row."""
    model = linear(3)
    side = 2_048
    matrix = np.zeros((side, side), "f4").tobytes()
    model.graph.initializer.extend(
        [
            helper.make_tensor("wide", TensorProto.FLOAT, [3, side], np.zeros(3 * side, "f4").tobytes(), True),
            helper.make_tensor("matrix", TensorProto.FLOAT, [side, side], matrix, True),
            helper.make_tensor("zeros", TensorProto.FLOAT, [side], np.zeros(side, "f4").tobytes(), True),
        ]
    )
    model.graph.node.append(helper.make_node("Gemm", ["observation", "wide", "zeros"], ["x0"]))
    for i in range(260):
        model.graph.node.append(helper.make_node("Gemm", [f"x{i}", "matrix", "zeros"], [f"x{i + 1}"]))
    return model


HOSTILE = {
    "custom operator": (lambda: custom(linear(3)), "com.evil"),
    "external data": (lambda: external(linear(3)), "external data"),
    "endless loop": (lambda: endless(linear(3)), "Loop|a graph"),
    "costly": (costly, "1,073,741,824 are allowed"),
    "wrong inputs": (lambda: linear(3, inputs=4), "the network takes"),
    "wrong outputs": (lambda: linear(2), r"actions of .* need float32 of \(3,\)"),
    "wrong names": (lambda: linear(3, "moods"), "gives"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_policy_is_refused_and_the_session_lives_on(serve, name):
    make, words = HOSTILE[name]
    with (
        closing(remote(serve, lambda: AnySpaces("categorical"))) as envs,
        closing(remote(serve, lambda: AnySpaces("gaussian"))) as other,
    ):
        envs.reset(seed=0)
        other.reset(seed=0)
        envs.send_rollout(Rollout(5, "categorical", RolloutPolicy("categorical", make().SerializeToString())))
        with pytest.raises(errors.InvalidPolicy, match=words):
            envs.recv_rollout()
        envs.send_rollout(Rollout(5, "categorical", RolloutPolicy("categorical", linear(3).SerializeToString())))
        assert len(envs.recv_rollout()) == 5
        other.step(np.zeros((ROWS, 2), np.float32))


@pytest.mark.parametrize(
    ("policy", "way", "error", "words"),
    [
        (RolloutPolicy("moon", b"x"), "categorical", errors.InvalidPolicy, "kind is 'moon'"),
        (RolloutPolicy("categorical", b"\xff" * 1000), "categorical", errors.InvalidPolicy, "refused"),
        (RolloutPolicy("categorical", linear(3).SerializeToString()), "epsilon_greedy", errors.Unsupported, "greedy"),
        (None, "categorical", errors.UnknownPolicy, "needs a policy"),
        (
            RolloutPolicy("gaussian", linear(3).SerializeToString()),
            "diagonal_gaussian",
            errors.InvalidPolicy,
            "gaussian",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(serve, policy, way, error, words):
    parameters = WAYS[way]
    with closing(remote(serve, lambda: AnySpaces("categorical"))) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(5, way, policy, parameters=parameters))
        with pytest.raises(error, match=words):
            envs.recv_rollout()
        envs.step(np.full(ROWS, 5))


def test_a_policy_that_has_diverged_moves_nothing(serve):
    log_std = helper.make_tensor("log_std_", TensorProto.FLOAT, [2], np.zeros(2, "f4").tobytes(), True)
    model = linear(2, "mean", np.nan)
    model.graph.initializer.append(log_std)
    model.graph.node.append(helper.make_node("Identity", ["log_std_"], ["log_std"]))
    model.graph.output.append(helper.make_tensor_value_info("log_std", TensorProto.FLOAT, [2]))
    with closing(remote(serve, lambda: AnySpaces("gaussian"))) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(5, "diagonal_gaussian", RolloutPolicy("gaussian", model.SerializeToString())))
        with pytest.raises(errors.InvalidPolicy, match="nothing was sent"):
            envs.recv_rollout()


def test_a_policy_that_takes_too_long_is_refused(serve, monkeypatch):
    monkeypatch.setattr("rlbridge.server.rollout._SLOWEST", 0.0)
    with closing(remote(serve, lambda: AnySpaces("categorical"))) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(5, "categorical", RolloutPolicy("categorical", linear(3).SerializeToString())))
        with pytest.raises(errors.InvalidPolicy, match="0 s are allowed"):
            envs.recv_rollout()


def test_a_moment_in_which_the_machine_stands_still_refuses_no_policy(serve, monkeypatch):
    in_time = iter([False, False, True, False, True])
    monkeypatch.setattr(OnnxPolicy, "try_out", lambda policy, encoded, seconds: next(in_time))
    with closing(remote(serve, lambda: AnySpaces("categorical"))) as envs:
        envs.reset(seed=0)
        envs.send_rollout(Rollout(5, "categorical", RolloutPolicy("categorical", linear(3).SerializeToString())))
        assert len(envs.recv_rollout()) == 5


@pytest.mark.parametrize("change", [{"num_envs": 0}, {"mode": AutoresetMode.DISABLED}])
def test_only_a_batch_that_resets_itself_is_rolled_out(change):
    peer = Peer(lambda: AnySpaces("categorical"), num_envs=change.get("num_envs", 2))
    if "mode" in change:
        peer.opened = peer.host.open(
            env_pb2.OpenRequest(
                protocol_version=1,
                num_envs=2,
                open_key=b"another key 0123",
                autoreset_mode=env_pb2.AUTORESET_MODE_DISABLED,
            )
        )
    peer.reset()
    request = Rollout(3, "uniform").request(b"")
    request.session.CopyFrom(peer.opened.session)
    request.seq, request.epoch = 2, peer.epoch
    answer = peer.host.execute(env_pb2.ExchangeRequest(rollout=request))
    assert answer.error.reason == "UNSUPPORTED"
    assert "a batch" in answer.error.message
    peer.stop()


class Rpc:
    """The calls of RolloutService, on a session opened by a client."""

    def __init__(self, server, key: bytes = b"0123456789abcdef") -> None:
        self.channel = grpc.insecure_channel(server.urls[0].removeprefix("grpc://"))
        self.service = rollout_pb2_grpc.RolloutServiceStub(self.channel)
        from rlbridge.v1 import env_pb2_grpc

        env = env_pb2_grpc.EnvServiceStub(self.channel)
        self.opened = env.Open(
            env_pb2.OpenRequest(
                protocol_version=1, num_envs=2, open_key=key, autoreset_mode=env_pb2.AUTORESET_MODE_SAME_STEP
            )
        )
        env.Reset(env_pb2.ResetRequest(session=self.opened.session, seq=1, epoch=self.opened.epoch, seed=0))

    def put(self, model: bytes, size: int | None = None, sha256: bytes | None = None) -> Any:
        header = rollout_pb2.PolicyHeader(
            session=self.opened.session,
            epoch=self.opened.epoch,
            policy=env_pb2.Policy(sha256=sha256 or hashlib.sha256(model).digest(), kind="categorical", version=2),
            size_bytes=len(model) if size is None else size,
        )
        pieces = [rollout_pb2.PutPolicyRequest(header=header)]
        pieces += [rollout_pb2.PutPolicyRequest(data=model[i : i + 100]) for i in range(0, len(model), 100)]
        return self.service.PutPolicy(iter(pieces), timeout=20)

    def roll_out(self, seq: int, sha256: bytes) -> Any:
        request = Rollout(4, "categorical").request(b"")
        request.policy.sha256 = sha256
        request.session.CopyFrom(self.opened.session)
        request.seq, request.epoch = seq, self.opened.epoch
        return self.service.Rollout(request, timeout=20)


def test_a_policy_comes_in_pieces_once(serve):
    rpc, model = Rpc(serve([Offer("env", lambda: AnySpaces("categorical"))])), linear(3).SerializeToString()
    assert not rpc.put(model).known
    assert rpc.put(model).known
    answer = rpc.roll_out(2, hashlib.sha256(model).digest())
    assert len(answer.steps) == 4
    codec = BlockCodec(spaces.Box(-1, 1, (3,)))
    assert codec.unpack_batch(answer.steps[3].observation, 2, copy=True).shape == (2, 3)
    rpc.channel.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": b"x" * 500, "size": 2**40}, "1,099,511,627,776 bytes; 67,108,864 are allowed"),
        ({"model": b"x" * 500, "size": 100}, "were announced"),
        ({"model": b"x" * 500, "sha256": b"0" * 32}, "send it again"),
    ],
)
def test_pieces_that_are_not_what_was_announced_are_refused(serve, given, words):
    rpc = Rpc(serve([Offer("env", lambda: AnySpaces("categorical"))]))
    with pytest.raises(grpc.RpcError) as refused:
        rpc.put(**given)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in refused.value.details()
    with pytest.raises(grpc.RpcError) as unknown:
        rpc.roll_out(2, b"0" * 32)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    rpc.channel.close()


def test_a_session_holds_the_latest_two_policies(serve):
    rpc = Rpc(serve([Offer("env", lambda: AnySpaces("categorical"))]))
    models = [linear(3, bias=bias).SerializeToString() for bias in (0.0, 1.0, 2.0)]
    for model in models:
        rpc.put(model)
    for seq, model in enumerate(models[1:], 2):
        assert len(rpc.roll_out(seq, hashlib.sha256(model).digest()).steps) == 4
    with pytest.raises(grpc.RpcError, match="holds no policy"):
        rpc.roll_out(4, hashlib.sha256(models[0]).digest())
    rpc.channel.close()
