"""How fast an environment steps over a target, and where the time of a step goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from rlbridge.client.connect import open_session
from rlbridge.client.make import make, make_vec
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.client.session import ClientSession
from rlbridge.client.target import is_remote, parse_target
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value

PARTS = ("encode", "wire", "queue", "env", "decode")
_ACTIONS = 64  # drawn beforehand and used in turn: drawing them is nobody's cost but the benchmark's
_REPEATS = 200  # of serialising and parsing one message


class LivePlant(ValueError):
    """The environment is a plant on the wall clock, and random actions were not agreed to."""


@dataclass(frozen=True)
class Measurement:
    """Some steps with random actions.

    Attributes:
        environment: its name at the server; the target for one in this process.
        server: what the server calls itself; empty without one.
        num_envs: of the batch; 0 for a single environment.
        steps: messages there and back that were measured; a batch of N steps N environments with each.
        steps_per_second: of environments (N a message), over the whole time but that of resets.
        median_us, p95_us: microseconds of one step as its caller sees them, the median and the 95th percentile.
        parts_us: medians [us] of the step's parts:

            - ``encode``: packing the action, serialising the request;
            - ``wire``: the way there and back: transports, network, threads waking up; what no other part claims;
            - ``queue``: at the server, beside the environment: waiting for the session's turn, bookkeeping, packing.
              Part of ``wire`` where the server does not tell;
            - ``env``: in the environment, as the server tells;
            - ``decode``: parsing the answer, making arrays of it.
        request_bytes, answer_bytes: of the last step's messages; 0 without a server.
    """

    environment: str
    server: str
    num_envs: int
    steps: int
    steps_per_second: float
    median_us: float
    p95_us: float
    parts_us: dict[str, float]
    request_bytes: int
    answer_bytes: int


def measure(target: str, steps: int = 2_000, num_envs: int = 0, live: bool = False) -> Measurement:
    """Open a session of its own, step it with random actions, close it.

    Args:
        target: a server's, or an environment in this process.
        steps: at least 1; a tenth more (at most 100) is taken first and not counted.
        num_envs: of a batch; 0 for a single environment.
        live: also on a plant that runs on the wall clock.

    Raises:
        LivePlant: the environment is one, and ``live`` is False. Nothing was sent to it.
        BridgeError, BadTarget, UnknownFactory: as ``rlbridge.make``.
        ValueError: less than one step.
    """
    if steps < 1 or num_envs < 0:
        raise ValueError(f"steps must be at least 1 and num_envs at least 0, got {steps} and {num_envs}")
    if not is_remote(target):
        return _measure_here(target, steps, num_envs, live)
    session = open_session(target, num_envs=num_envs)
    try:
        _check_not_live(session.metadata, target, live)
        offers = [offer.name for offer in session.server.environments]
        return _Stepper(session).measure(steps, parse_target(target).environment or offers[0])
    finally:
        session.close()


def _check_not_live(metadata: dict[str, Any] | None, target: str, agreed: bool) -> None:
    if (metadata or {}).get("live") and not agreed:
        raise LivePlant(
            f"{target} is a plant on the wall clock, and measuring sends it random actions. Its gate would limit them, "
            "but nobody should find that out by a benchmark: nothing was sent. Measure a simulation of it, or agree "
            "with --live (live=True)."
        )


class _Stepper:
    """One session, stepped with a watch in hand."""

    def __init__(self, session: ClientSession) -> None:
        self._session, self._n = session, session.num_envs
        self._codec = session.observations
        space = session.actions.space
        self._actions = _drawn(batch_space(space, self._n) if self._n else space)
        self._blocks: list[bytes] = []

    def measure(self, steps: int, environment: str) -> Measurement:
        session, n = self._session, self._n
        session.reset(reset_request(0, None))
        for i in range(_warm_up(steps)):
            self._step(i)
        samples = np.empty((steps, 5))  # ns: packing, round trip, at the server, in the environment, unpacking
        for i in range(steps):
            response = self._step(i, samples[i])
        request = env_pb2.ExchangeRequest(step=env_pb2.StepRequest(action=self._blocks, seq=response.seq, epoch=1))
        data = env_pb2.ExchangeResponse(step=response).SerializeToString()
        serialising = _median_ns(request.SerializeToString)
        parsing = _median_ns(lambda: env_pb2.ExchangeResponse.FromString(data))
        packing, trip, server, env, unpacking = samples.T
        queue = np.maximum(server - env, 0.0) * (server > 0)
        parts = {
            "encode": float(np.median(packing)) + serialising,
            "wire": max(float(np.median(trip - queue - env)) - serialising - parsing, 0.0),
            "queue": float(np.median(queue)),
            "env": float(np.median(env)),
            "decode": float(np.median(unpacking)) + parsing,
        }
        whole = packing + trip + unpacking
        return _measurement(environment, session.server.server, n, whole, parts, request.ByteSize(), len(data))

    def _step(self, i: int, sample: Any = None) -> env_pb2.StepResponse:
        session, n = self._session, self._n
        begun = time.perf_counter_ns()
        self._blocks = packed_action(session.actions, self._actions[i % _ACTIONS], n)
        sent = time.perf_counter_ns()
        response = session.step(self._blocks)
        received = time.perf_counter_ns()
        if n:
            self._codec.unpack_batch(response.observation, n, copy=True)
        else:
            self._codec.unpack(response.observation, copy=True)
        if response.HasField("info"):
            decode_value(response.info)
        done = time.perf_counter_ns()
        if sample is not None:
            sample[:] = sent - begun, received - sent, response.server_ns, response.env_ns, done - received
        self._go_on(response)
        return response

    def _go_on(self, response: env_pb2.StepResponse) -> None:
        """Reset what does not reset itself."""
        session, n = self._session, self._n
        over = np.frombuffer(response.terminated, np.bool_) | np.frombuffer(response.truncated, np.bool_)
        if not n and over[0]:
            session.reset(reset_request(None, None))
        elif n and session.autoreset_mode is AutoresetMode.DISABLED and over.any():
            session.reset(reset_request(None, {"reset_mask": over}, n))


def _measure_here(target: str, steps: int, num_envs: int, live: bool) -> Measurement:
    """Without a server all of a step is the environment."""
    env: Any = make_vec(target, num_envs) if num_envs else make(target)
    try:
        inner = env.envs[0] if num_envs else env
        _check_not_live(inner.metadata, target, live)
        actions = _drawn(env.action_space)
        env.reset(seed=0)
        samples = []
        for i in range(_warm_up(steps) + steps):
            begun = time.perf_counter_ns()
            _, _, terminated, truncated, _ = env.step(actions[i % _ACTIONS])
            samples.append(time.perf_counter_ns() - begun)
            if not num_envs and (terminated or truncated):
                env.reset()
    finally:
        env.close()
    whole = np.array(samples[_warm_up(steps) :], np.float64)
    parts = {**dict.fromkeys(PARTS, 0.0), "env": float(np.median(whole))}
    return _measurement(target, "", num_envs, whole, parts, 0, 0)


def _measurement(
    environment: str, server: str, n: int, whole: Any, parts: dict[str, float], request: int, answer: int
) -> Measurement:
    """From nanoseconds."""
    return Measurement(
        environment=environment,
        server=server,
        num_envs=n,
        steps=len(whole),
        steps_per_second=len(whole) * max(n, 1) / (whole.sum() / 1e9),
        median_us=float(np.median(whole)) / 1e3,
        p95_us=float(np.percentile(whole, 95)) / 1e3,
        parts_us={part: parts[part] / 1e3 for part in PARTS},
        request_bytes=request,
        answer_bytes=answer,
    )


def _drawn(space: Any) -> Sequence[Any]:
    space.seed(0)
    return [space.sample() for _ in range(_ACTIONS)]


def _warm_up(steps: int) -> int:
    return min(max(steps // 10, 1), 100)


def _median_ns(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - begun)
    return statistics.median(times)
