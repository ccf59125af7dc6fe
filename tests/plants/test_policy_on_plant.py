"""A policy that acts at the plant goes through the gate like a client's actions, and every step into the audit."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import onnx
from gymnasium import spaces
from onnx import TensorProto, helper

import rlbridge
from rlbridge.client import Rollout, RolloutPolicy
from rlbridge.plants import Clock, Gate, PlantEnv
from rlbridge.plants.replay import verify
from rlbridge.server.catalog import Offer
from tests.plants.tanks import Tank

STEPS = 12


def always(action: list[float], inputs: int) -> RolloutPolicy:
    """A policy that wants the same whatever it sees, -1..1 of each actuator's range."""
    width = len(action)
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [inputs, width], np.zeros(inputs * width, "f4").tobytes(), True),
        helper.make_tensor("b", TensorProto.FLOAT, [width], np.array(action, "f4").tobytes(), True),
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["observation", "w", "b"], ["action"])],
        "always",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", width])],
        constants,
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return RolloutPolicy("deterministic", model.SerializeToString())


def test_a_wild_policy_at_the_plant_is_held_by_the_gate_and_written_down(serve, tmp_path):
    def make() -> PlantEnv:
        return PlantEnv(Tank(), gate=Gate(audit="audit.jsonl"), clock=Clock(period=1.0), folder=tmp_path)

    envs = rlbridge.make_vec(serve([Offer("tank", make)]).urls[0], 1, autoreset_mode="SameStep")
    with closing(envs):
        assert isinstance(envs.single_observation_space, spaces.Box)
        envs.reset(seed=0)
        policy = always([1.0, 1.0], envs.single_observation_space.shape[0])
        envs.send_rollout(Rollout(STEPS, "deterministic", policy))
        result = envs.recv_rollout()
        applied = np.array([result.step(t)[4]["applied"][0] for t in range(STEPS)])
    assert (result.action == 1.0).all()
    # The valve may move by a quarter a second, from 0.5 where it stood.
    assert applied.tolist() == [[0.75, 2.0]] + [[1.0, 2.0]] * (STEPS - 1)
    found = verify(tmp_path / "audit.jsonl")
    assert found.decisions == STEPS + 1  # and the safe action when the session was closed
