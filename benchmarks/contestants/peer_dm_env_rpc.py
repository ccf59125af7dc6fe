"""dm_env_rpc: CartPole behind its gRPC protocol, with its own connection and its own packing of tensors.

peer_dm_env_rpc.py one          a single CartPole-v1
peer_dm_env_rpc.py native N     gymnasium's own vectorised CartPole as one environment with a leading axis
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent import futures
from typing import Any

import gymnasium
import numpy as np
from turns import needed, serving, start_server, take_turns

grpc = needed("grpc", "grpcio")
connection = needed("dm_env_rpc.v1.connection", "dm-env-rpc")
dm_env_rpc_pb2 = needed("dm_env_rpc.v1.dm_env_rpc_pb2", "dm-env-rpc")
dm_env_rpc_pb2_grpc = needed("dm_env_rpc.v1.dm_env_rpc_pb2_grpc", "dm-env-rpc")
spec_manager = needed("dm_env_rpc.v1.spec_manager", "dm-env-rpc")

ACTION, OBSERVATION, REWARD = 1, 2, 3


def specs(n: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """Of actions and observations; ``n`` = 0: without a batch axis."""
    rows = [n] if n else []
    spec = dm_env_rpc_pb2.TensorSpec
    actions = {ACTION: spec(name="action", shape=rows, dtype=dm_env_rpc_pb2.INT64)}
    observations = {
        OBSERVATION: spec(name="observation", shape=[*rows, 4], dtype=dm_env_rpc_pb2.FLOAT),
        REWARD: spec(name="reward", shape=rows, dtype=dm_env_rpc_pb2.DOUBLE),
    }
    return actions, observations


class Environment(dm_env_rpc_pb2_grpc.EnvironmentServicer):  # type: ignore[misc]
    """One environment a stream; the message after an episode's end resets it, as the protocol says."""

    def __init__(self, n: int) -> None:
        self._n = n

    def Process(self, request_iterator: Any, context: Any) -> Any:
        if self._n:
            env: Any = gymnasium.make_vec("CartPole-v1", self._n, vectorization_mode="vector_entry_point")
        else:
            env = gymnasium.make("CartPole-v1")
        action_specs, observation_specs = specs(self._n)
        actions = spec_manager.SpecManager(action_specs)
        observations = spec_manager.SpecManager(observation_specs)
        fresh = True
        for request in request_iterator:
            kind = request.WhichOneof("payload")
            response = dm_env_rpc_pb2.EnvironmentResponse()
            if kind == "step":
                if fresh:
                    observation, reward, over = env.reset()[0], np.zeros(self._n or ()), False
                else:
                    action = actions.unpack(request.step.actions)["action"]
                    observation, reward, terminated, truncated, _ = env.step(action)
                    over = False if self._n else bool(terminated or truncated)
                fresh = over
                packed = observations.pack({"observation": observation, "reward": np.float64(reward)})
                for uid in request.step.requested_observations:
                    response.step.observations[uid].CopyFrom(packed[uid])
                response.step.state = dm_env_rpc_pb2.TERMINATED if over else dm_env_rpc_pb2.RUNNING
            elif kind == "join_world":
                for uid, spec in action_specs.items():
                    response.join_world.specs.actions[uid].CopyFrom(spec)
                for uid, spec in observation_specs.items():
                    response.join_world.specs.observations[uid].CopyFrom(spec)
            else:
                getattr(response, kind).SetInParent()
            yield response


def serve(n: int) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(Environment(n), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    serving(f"127.0.0.1:{port}")
    server.stop(0)


def client(address: str, n: int) -> Callable[[int], None]:
    link = connection.Connection(grpc.insecure_channel(address))
    link.send(dm_env_rpc_pb2.CreateWorldRequest())
    joined = link.send(dm_env_rpc_pb2.JoinWorldRequest(world_name="cartpole")).specs
    actions, observations = spec_manager.SpecManager(joined.actions), spec_manager.SpecManager(joined.observations)
    rng = np.random.default_rng(0)
    choices = [rng.integers(0, 2, n or ()) for _ in range(16)]

    def run(steps: int) -> None:
        for i in range(steps):
            request = dm_env_rpc_pb2.StepRequest(
                requested_observations=[OBSERVATION, REWARD], actions=actions.pack({"action": choices[i % 16]})
            )
            observations.unpack(link.send(request).observations)

    return run


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        rows = int(sys.argv[2]) if sys.argv[1] == "native" else 0
        take_turns(client(start_server(__file__, rows), rows))
