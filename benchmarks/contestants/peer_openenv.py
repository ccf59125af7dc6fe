"""OpenEnv: CartPole behind its WebSocket of JSON, with its own server and its own client, which is asynchronous.

peer_openenv.py one             a single CartPole-v1
peer_openenv.py native N        gymnasium's own vectorised CartPole; actions and observations are nested lists
"""

from __future__ import annotations

import asyncio
import atexit
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from turns import needed, serving, start_server, take_turns

env_client = needed("openenv.core.env_client", "openenv-core")
http_server = needed("openenv.core.env_server.http_server", "openenv-core")
interfaces = needed("openenv.core.env_server.interfaces", "openenv-core")
types = needed("openenv.core.env_server.types", "openenv-core")
client_types = needed("openenv.core.client_types", "openenv-core")
uvicorn = needed("uvicorn", "uvicorn")


class Push(types.Action):  # type: ignore[misc]
    """One action, or one a row."""

    action: int | list[int]


class Seen(types.Observation):  # type: ignore[misc]
    """An observation; of a batch, with its rewards."""

    observation: list[float] | list[list[float]]
    rewards: list[float] | None = None


class CartPole(interfaces.Environment):  # type: ignore[misc]
    """A single one is reset at once when its episode ends."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._n = n
        if n:
            self._env: Any = gymnasium.make_vec("CartPole-v1", n, vectorization_mode="vector_entry_point")
        else:
            self._env = gymnasium.make("CartPole-v1")

    def reset(self, seed: int | None = None, episode_id: str | None = None, **more: Any) -> Seen:
        return Seen(observation=self._env.reset(seed=seed)[0].tolist())

    def step(self, action: Push, timeout_s: float | None = None, **more: Any) -> Seen:
        if self._n:
            observation, rewards, *_ = self._env.step(np.array(action.action))
            return Seen(observation=observation.tolist(), rewards=rewards.tolist())
        observation, reward, terminated, truncated, _ = self._env.step(action.action)
        if terminated or truncated:
            self._env.reset()
        return Seen(observation=observation.tolist(), reward=float(reward), done=bool(terminated or truncated))

    @property
    def state(self) -> Any:
        return types.State()


class Client(env_client.EnvClient):  # type: ignore[misc]
    """Its own, with arrays for observations."""

    def _step_payload(self, action: Any) -> dict[str, Any]:
        return {"action": action}

    def _parse_result(self, payload: dict[str, Any]) -> Any:
        observation = np.array(payload["observation"]["observation"], np.float32)
        return client_types.StepResult(observation, payload.get("reward"), payload.get("done", False))

    def _parse_state(self, payload: dict[str, Any]) -> Any:
        return payload


def serve(n: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    app = http_server.create_fastapi_app(lambda: CartPole(n), Push, Seen)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    serving(f"http://127.0.0.1:{listener.getsockname()[1]}")


def client(address: str, n: int) -> Callable[[int], None]:
    loop = asyncio.new_event_loop()
    peer = Client(address)
    loop.run_until_complete(peer.connect())
    loop.run_until_complete(peer.reset())
    atexit.register(lambda: loop.run_until_complete(peer.disconnect()))
    rng = np.random.default_rng(0)
    choices = [rng.integers(0, 2, n).tolist() if n else int(rng.integers(0, 2)) for _ in range(16)]

    async def steps_of(count: int) -> None:
        for i in range(count):
            await peer.step(choices[i % 16])

    return lambda steps: loop.run_until_complete(steps_of(steps))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        rows = int(sys.argv[2]) if sys.argv[1] == "native" else 0
        take_turns(client(start_server(__file__, rows), rows))
