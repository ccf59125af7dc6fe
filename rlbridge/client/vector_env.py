"""A batch of remote environments that is a ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlbridge.client.connect import (
    DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_RETRY_FOR,
    DEFAULT_TIMEOUT,
    GivenCredentials,
    open_session,
)
from rlbridge.client.requests import packed_action, reset_request
from rlbridge.client.rollout import Rollout, RolloutResult, Step
from rlbridge.client.session import RequestPending
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value
from rlbridge.wire.errors import BridgeError, EnvLost, Unsupported

Rest = tuple[Any, Any, Any, dict[str, Any]]  # of a step, after its observation

log = logging.getLogger("rlbridge.client")


class RemoteVectorEnv(VectorEnv[Any, Any, Any]):
    """``num_envs`` environments in one session on a server: one message a step, whatever their number.

    Beside ``step`` there are ``send`` and ``recv``, its two halves, with time for other work in between. A row whose
    sub-environment failed and was rebuilt comes back truncated; then ``infos["bridge_valid"]`` (bool ``[num_envs]``,
    present in that step only) is False for it, ``infos["bridge_error"]`` says why, and it should not be learned from.

    Args:
        target: ``grpc://host:port[/environment]``, ``unix:///path`` or ``shm:///path``.
        num_envs: at least 1.
        autoreset_mode: None for the environment's default, which is NEXT_STEP unless a native batch does another.
        on_lost: what happens when the server dies and the environments with it. ``reopen`` waits for it to come back
            (up to ``retry_for``), opens new ones, and gives one step in which every row is truncated, repeats its last
            observation and is not valid. ``raise`` raises EnvLost.
        render_mode, timeout, retry_for, max_message_bytes, credentials, copy, resume: as for ``RemoteEnv``.

    Attributes:
        ticket: as for ``RemoteEnv``.
        times_lost: how often the environments were lost and opened anew.
    """

    def __init__(
        self,
        target: str,
        num_envs: int,
        *,
        autoreset_mode: AutoresetMode | str | None = None,
        render_mode: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry_for: float = DEFAULT_RETRY_FOR,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        credentials: GivenCredentials = None,
        copy: bool = True,
        on_lost: Literal["reopen", "raise"] = "reopen",
        resume: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if on_lost not in ("reopen", "raise"):
            raise ValueError(f"on_lost must be 'reopen' or 'raise', got {on_lost!r}")
        self._session = session = open_session(
            target,
            num_envs=num_envs,
            autoreset_mode=AutoresetMode(autoreset_mode) if autoreset_mode else None,
            render_mode=render_mode,
            timeout=timeout,
            retry_for=retry_for,
            max_message_bytes=max_message_bytes,
            credentials=credentials,
            resume=resume,
        )
        if session.num_envs != num_envs:
            session.close()
            raise ValueError(f"the ticket is for num_envs={session.num_envs} (0: a single one), asked for {num_envs}")
        self._copy = copy
        self._on_lost = on_lost
        self.times_lost = 0
        self._sent_at = 0
        self._rollouts: deque[tuple[Rollout, int]] = deque()  # under way, and when each was sent [ns]
        self._held = b""  # the policy that the session holds
        self._round_trips: deque[int] = deque(maxlen=1024)  # ns, of the latest steps, without the environment's share
        self._last: env_pb2.StepResponse | env_pb2.ResetResponse | None = (
            None  # its observation is what lost rows repeat
        )
        self._begun: env_pb2.ResetResponse | None = None  # NEXT_STEP: the reset that the next step shows after a loss
        self._seed: int | None = None
        self.num_envs = num_envs
        self.render_mode = session.render_mode
        self.metadata = {**session.metadata, "autoreset_mode": session.autoreset_mode}
        self.single_observation_space = session.observations.space
        self.single_action_space = session.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, int) else None)
        request = reset_request(seed, options, self.num_envs)
        if request.HasField("seed"):
            self._seed = request.seed
        try:
            response = self._session.reset(request)
        except EnvLost as lost:
            request.ClearField("reset_mask")  # there is nothing left that could be kept
            response = self._begin_anew(lost, lambda: request)
        self._begun = None
        return self._first(response)

    def step(self, actions: Any) -> Step:
        self.send(actions)
        return self.recv()

    def send(self, actions: Any) -> None:
        """Start a step; ``recv`` gives its result.

        Raises:
            InvalidAction: a wrong structure, shape or dtype. Wrong values are found by the server: ``recv`` raises.
            RequestPending: the step before has not been received.
        """
        packed = packed_action(self._session.actions, actions, self.num_envs)
        if self._begun is None:
            self._sent_at = time.perf_counter_ns()
            self._session.send_step(packed)

    def recv(self) -> Step:
        """The result of the step that ``send`` started, as ``step`` returns it."""
        observation, rest = self.recv_observation()
        return (observation, *rest())

    def recv_observation(self) -> tuple[Any, Callable[[], Rest]]:
        """The observation of the step that ``send`` started, and a function that gives the rest of its result.

        What is acted on is there first: the rest can wait until the next step has been sent.
        """
        if self._begun is not None:
            return _halves(self._first_step())
        try:
            response = self._session.receive().step
        except EnvLost as lost:
            return _halves(self._lost_step(lost))
        self._round_trips.append(time.perf_counter_ns() - self._sent_at - response.env_ns)
        self._last = response
        return self._batch(response.observation, self.num_envs), functools.partial(self._rest, response)

    def send_rollout(self, rollout: Rollout) -> None:
        """Start steps with actions that a policy chooses at the server; ``recv_rollout`` gives what came of them.

        Others may be sent before it has come (``rollouts_at_once``): then the server never waits for this side. Each
        begins where the one before ends, whatever that was; its ``first_step`` should be the one after that one's last.

        Raises:
            Unsupported: the server has no RolloutService.
            RequestPending: as many are under way as the server keeps outcomes of, or a step is.
        """
        if "rollout.onnx" not in self._session.server.capabilities:
            raise Unsupported(
                f"{self._session.where} cannot run policies (placement edge): on the server, "
                "pip install 'rlbridge-toolkit[play]'"
            )
        self._forget_answered()
        if self._session.broken_off and any(rollout == sent for sent, _ in self._rollouts):
            return  # it is waited for once more
        request = rollout.request(self._held)
        self._rollouts.append((rollout, time.perf_counter_ns()))
        try:
            self._session.send_rollout(request)
        except Exception:
            self._rollouts.pop()
            raise
        self._held = rollout.policy.sha256 if rollout.policy is not None else self._held
        self._begun = None  # after a loss, it goes on from the reset

    @property
    def rollouts_at_once(self) -> int:
        """How many rollouts may be under way: as many as the server keeps outcomes of."""
        return self._session.kept_outcomes

    def _forget_answered(self) -> None:
        """A reset takes the answers of rollouts that were broken off, and does not hand them out."""
        while len(self._rollouts) > self._session.rollouts:
            self._rollouts.popleft()

    def recv_rollout(self) -> RolloutResult:
        """What came of the oldest rollout that was sent; perhaps fewer steps than asked for.

        Raises:
            InvalidPolicy: the server refuses the policy; nothing was stepped.
            RequestPending: none is under way.
            BridgeError: as ``recv``. After any of these but Unavailable and DeadlineExceeded, what was sent behind this
                rollout is void.
        """
        self._forget_answered()
        if not self._rollouts:
            raise RequestPending("no rollout is under way: send one first; those sent behind a refused one are void")
        _, sent_at = self._rollouts[0]
        try:
            response = self._session.receive().rollout
        except EnvLost as lost:
            return self._lost_rollout(lost)
        except BridgeError:
            self._forget_answered()
            self._held = b""
            raise
        self._rollouts.popleft()
        taken = time.perf_counter_ns() - sent_at - sum(step.env_ns for step in response.steps)
        self._round_trips.append(taken)
        return RolloutResult.of(response, self.num_envs, self.single_action_space, self._result)

    def _lost_rollout(self, lost: EnvLost) -> RolloutResult:
        """What a rollout led to whose environments are gone; those behind it are asked for in the new ones."""
        (rollout, _), *behind = self._rollouts
        self._rollouts.clear()
        steps = [self._lost_step(lost)]
        if self._begun is not None:
            steps.append(self._first_step())
        if len(behind) > self.rollouts_at_once:
            raise Unsupported(
                f"{self._session.where}: the server that came back keeps {self.rollouts_at_once} outcomes, and "
                f"{len(behind)} rollouts are still to be made. Send fewer at a time, or raise its kept_outcomes."
            )
        for later, _ in behind:
            self.send_rollout(later)
        return RolloutResult.lost(steps, rollout, self.num_envs, self.single_action_space)

    def _result(self, response: env_pb2.StepResponse) -> Step:
        self._last = response
        return (self._batch(response.observation, self.num_envs), *self._rest(response))

    def _rest(self, response: env_pb2.StepResponse) -> Rest:
        infos = self._infos(response)
        if response.final_rows:
            self._add_final(infos, response)
        if response.valid:
            infos["bridge_valid"] = np.frombuffer(response.valid, np.bool_).copy()
            infos["_bridge_valid"] = np.ones(self.num_envs, np.bool_)
        return (
            self._column(response.reward, np.dtype("<f8")),
            self._column(response.terminated, np.dtype(np.bool_)),
            self._column(response.truncated, np.dtype(np.bool_)),
            infos,
        )

    def render(self) -> Any:
        return self._session.render()

    def close_extras(self, **kwargs: Any) -> None:
        self._session.close()

    @property
    def ticket(self) -> str:
        """See ``RemoteEnv``."""
        return self._session.ticket

    def bridge_metrics(self) -> dict[str, float]:
        """What the network has cost so far: round-trip times of the latest 1,024 steps [ms], from sending to having
        the answer less the environment's own time (median, 95th percentile, and the mean, which adds up to the time
        that they took together); connections made again; environments lost and opened anew."""
        trips = np.array(self._round_trips or [0]) / 1e6
        p50, p95 = np.percentile(trips, (50, 95))
        return {
            "bridge/rtt_ms_p50": float(p50),
            "bridge/rtt_ms_p95": float(p95),
            "bridge/rtt_ms_mean": float(trips.mean()),
            "bridge/retries": float(self._session.reconnects),
            "bridge/lost": float(self.times_lost),
        }

    # ----------------------------------------------------------------------------------------- after a server's death

    def _begin_anew(self, lost: EnvLost, request: Callable[[], env_pb2.ResetRequest]) -> env_pb2.ResetResponse:
        """New environments, reset. A server that dies once more meanwhile is waited for again, for a while."""
        end = time.monotonic() + self._session.retry.total
        while True:
            if self._on_lost == "raise":
                raise lost
            log.warning("%s: the environments are lost (%s); opening new ones", self._session.where, lost.args[0])
            self._session.reopen()
            self.times_lost += 1
            self._held = b""
            log.warning("%s: %d new environments are open", self._session.where, self.num_envs)
            try:
                return self._session.reset(request())
            except EnvLost as again:
                if time.monotonic() > end:
                    raise
                lost = again

    def _lost_step(self, lost: EnvLost) -> Step:
        """New environments, and the step that says that the old ones are gone."""
        begun = self._begin_anew(lost, self._reset_of_this_life)
        n, same_step = self.num_envs, self._session.autoreset_mode is AutoresetMode.SAME_STEP
        every, none = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        last = list((self._last or begun).observation)
        note = {"bridge_error": np.full(n, f"EnvLost: {lost.args[0]}", object), "_bridge_error": every.copy()}
        infos: dict[str, Any] = {"bridge_valid": none.copy(), "_bridge_valid": every.copy()}
        if same_step:
            shown, info = self._first(begun)
            response = env_pb2.StepResponse(final_rows=range(n), final_observation=last)
            infos = {**info, **infos, "final_info": note, "_final_info": every.copy()}
            self._add_final(infos, response)
        else:
            shown = self._batch(last, n)
            infos.update(note)
            self._begun = begun if self._session.autoreset_mode is AutoresetMode.NEXT_STEP else None
        return shown, np.zeros(n), none.copy(), every.copy(), infos

    def _reset_of_this_life(self) -> env_pb2.ResetRequest:
        """Where the run was seeded, each next life is too, by a rule, so that a run can be repeated."""
        seed = None
        if self._seed is not None:
            seed = int(np.random.SeedSequence([self._seed, self.times_lost]).generate_state(1)[0])
        return reset_request(seed, None, self.num_envs)

    def _first_step(self) -> Step:
        """NEXT_STEP: the step after the loss is the reset that has been made already."""
        assert self._begun is not None
        begun, self._begun = self._begun, None
        observation, infos = self._first(begun)
        n = self.num_envs
        return observation, np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_), infos

    # ------------------------------------------------------------------------------------------------------ decoding

    def _first(self, response: env_pb2.ResetResponse) -> tuple[Any, dict[str, Any]]:
        self._last = response
        return self._batch(response.observation, self.num_envs), self._infos(response)

    def _batch(self, blocks: Any, n: int) -> Any:
        return self._session.observations.unpack_batch(blocks, n, copy=self._copy)

    def _column(self, data: bytes, dtype: np.dtype[Any]) -> Any:
        return np.frombuffer(bytearray(data) if self._copy else data, dtype)

    def _infos(self, response: env_pb2.StepResponse | env_pb2.ResetResponse) -> dict[str, Any]:
        return decode_value(response.info, copy=self._copy) if response.HasField("info") else {}

    def _add_final(self, infos: dict[str, Any], response: env_pb2.StepResponse) -> None:
        codec = self._session.observations
        rows = list(response.final_rows)
        final = np.full(self.num_envs, None, dtype=object)
        samples = codec.unstack(codec_blocks(response.final_observation, self._copy), len(rows))
        for row, sample in zip(rows, samples, strict=True):
            final[row] = sample
        mask = np.zeros(self.num_envs, np.bool_)
        mask[rows] = True
        infos["final_obs"], infos["_final_obs"] = final, mask


def _halves(step: Step) -> tuple[Any, Callable[[], Rest]]:
    """A whole step, as ``recv_observation`` gives it."""
    observation, *rest = step
    return observation, lambda: tuple(rest)


def codec_blocks(blocks: Any, copy: bool) -> list[Any]:
    """Blocks whose views can be written to, with ``copy``."""
    return [bytearray(block) for block in blocks] if copy else list(blocks)
