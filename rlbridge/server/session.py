"""One session: an environment and the table that makes every step happen exactly once.

The rules are the table above StepRequest in protos/rlbridge/v1/env.proto; ``execute`` is that table.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import Any

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server.environment import Environment, Outcome, ResetCommand
from rlbridge.server.failure import FAILURES, close_quietly, environment_failure
from rlbridge.server.limits import ServerLimits
from rlbridge.server.rollout import Rollouts
from rlbridge.v1 import env_pb2
from rlbridge.wire import decode_value, encode_value
from rlbridge.wire.errors import (
    BridgeError,
    DeadlineExceeded,
    MessageTooLarge,
    NeedsReset,
    RemoteEnvError,
    SequenceConflict,
    SequenceExpired,
    SequenceGap,
    SessionExpired,
    Superseded,
    WireError,
    encode_error,
)

_HEADROOM = 4096  # of an answer without infos, beside its blocks

Request = env_pb2.ExchangeRequest
Response = env_pb2.ExchangeResponse


class Session:
    """Executes the numbered requests of one client on one environment.

    Any thread may call ``execute``; requests of a session run one at a time, in the thread that brings them.

    Attributes:
        id: public name.
        token: secret that every request must carry.
        attachment: number of the present holder.
        opened: what Open answered.
        caller: who opened it; ``asked``: for which environment, num_envs and render_mode.
        closed: no request is answered any more.
        lease_seconds: what the client asked for, or the server's where that is shorter or nothing was asked for.
    """

    opened: env_pb2.OpenResponse
    caller = ""
    asked: tuple[str, int, str] = ("", 0, "")

    def __init__(self, environment: Environment, limits: ServerLimits, request: env_pb2.OpenRequest) -> None:
        self.id = secrets.token_hex(8)
        self.token = secrets.token_bytes(16)
        self.attachment = 1
        self.environment = environment
        self.lease_seconds = min(limits.lease_seconds, request.lease_ms / 1000 or limits.lease_seconds)
        self._limits = limits
        self._rollouts = Rollouts(environment, largest_message(environment))
        self._observation: list[bytes] = []  # the latest
        self._max_message_bytes = min(limits.max_message_bytes, request.max_message_bytes or limits.max_message_bytes)
        self._info_keys = _wanted_keys(request)
        self._lock = threading.Lock()
        self.closed = False
        self._next_seq = 1
        self._kept: OrderedDict[int, tuple[Request, Response]] = OrderedDict()
        self._last_seen = time.monotonic()
        self._attaching = threading.Lock()
        self._holder, self._attempt = request.open_key, 0  # who resumed last, and its how-manieth time
        self._closing: threading.Thread | None = None
        self._because: BridgeError

    # ------------------------------------------------------------------------------------------------ the lease

    def touch(self) -> None:
        """The client has shown itself: the lease starts anew."""
        self._last_seen = time.monotonic()

    def expired(self, now: float) -> bool:
        """Whether the lease ran out: no request under way, and none for ``lease_seconds``."""
        return not self._lock.locked() and now - self._last_seen > self.lease_seconds

    def attach(self, request: env_pb2.ResumeRequest) -> int:
        """A holder attaches anew; returns its attachment number. Whoever was attached before is fenced off.

        Raises:
            Superseded: see ResumeRequest.
        """
        with self._attaching:
            if request.holder and request.holder != self._holder and not request.take_over:
                raise Superseded(f"session {self.id} is held by another client, which has resumed it.")
            if request.holder and request.holder == self._holder and request.attempt <= self._attempt:
                raise Superseded(
                    f"attempt {request.attempt} to resume session {self.id} came after attempt {self._attempt}.",
                    expected=self._attempt + 1,
                    got=request.attempt,
                )
            self._holder, self._attempt = request.holder, request.attempt
            self.attachment += 1
            self.touch()
            return self.attachment

    # ------------------------------------------------------------------------------------------------ execution

    @property
    def next_seq(self) -> int:
        """The number that the next new request must carry."""
        return self._next_seq

    @property
    def oldest_kept_seq(self) -> int:
        """Outcomes from this number on are kept; ``next_seq`` where none is."""
        return next(iter(self._kept), self._next_seq)

    @property
    def last_outcome(self) -> Response | None:
        """What the newest executed request was answered."""
        kept = self._kept.get(self._next_seq - 1)
        return kept[1] if kept else None

    def check_attachment(self, attachment: int) -> None:
        """Refuse a holder that another one has taken over from.

        Raises:
            Superseded: ``attachment`` is not the present one.
        """
        if attachment != self.attachment:
            raise Superseded(
                f"session {self.id} is held by attachment {self.attachment}, this is {attachment}: another client has "
                "resumed it.",
                expected=self.attachment,
                got=attachment,
            )

    def execute(self, request: Request, body: Any, attachment: int) -> Response:
        """Answer one request according to the table; an error is an answer, never an exception.

        ``body`` is the one of the request's parts that is set; ``attachment`` is the caller's.
        """
        arrived = time.perf_counter_ns()
        try:
            if not self._lock.acquire(timeout=self._limits.wait_seconds):
                raise DeadlineExceeded(
                    f"another request of this session has been executing for more than "
                    f"{self._limits.wait_seconds:g} s. The environment is slow or stuck; repeat the request later.",
                    limit=self._limits.wait_seconds,
                )
            try:
                # Looked at in turn: a request of the older holder that waited here while another one took over is late.
                self.check_attachment(attachment)
                self.touch()
                return self._execute_in_turn(request, body, arrived)
            finally:
                self._lock.release()
        except BridgeError as error:
            return error_response(error, body.seq)

    def _execute_in_turn(self, request: Request, body: Any, arrived: int) -> Response:
        if self.closed:
            raise self._because
        seq = body.seq
        if seq < 1:
            raise WireError("a request has no number: seq begins with 1")
        if seq == self._next_seq:
            response = self._outcome(body, arrived)  # raises where nothing was touched: then the number is not used up
            self.touch()  # the lease runs from the end of a step, however long it took
            self._next_seq += 1
            self._kept[seq] = (request, response)
            if len(self._kept) > self._limits.kept_outcomes:
                self._kept.popitem(last=False)
            return response
        if seq > self._next_seq:
            raise SequenceGap(
                f"request {seq} arrived where {self._next_seq} is expected: one before it was lost or refused. "
                f"Send {self._next_seq}.",
                expected=self._next_seq,
                got=seq,
            )
        return self._replay(request, seq)

    def _replay(self, request: Request, seq: int) -> Response:
        kept = self._kept.get(seq)
        if kept is None:
            raise SequenceExpired(
                f"request {seq} was executed, but only the last {self._limits.kept_outcomes} outcomes are kept "
                f"(now {', '.join(map(str, self._kept)) or 'none'}); its answer is gone.",
                oldest=self.oldest_kept_seq,
                got=seq,
            )
        first, outcome = kept
        if _content(first) != _content(request):
            raise SequenceConflict(
                f"request {seq} was executed with other content. Two clients share this session, or one lost count.",
                seq=seq,
            )
        again = Response()
        again.CopyFrom(outcome)
        kind = again.WhichOneof("response")
        if kind != "error":
            getattr(again, str(kind)).replayed = True
        return again

    def _outcome(self, body: Any, arrived: int) -> Response:
        """Execute a new request. Raises only where the environment was not touched."""
        started = time.perf_counter_ns()
        try:
            result = self._run(body)
        except RemoteEnvError as error:  # the environment was touched: this is an outcome, and it is kept
            return error_response(error, body.seq)
        except BridgeError:
            raise
        except FAILURES as error:
            return error_response(environment_failure("its answer", error, self._limits.show_tracebacks), body.seq)
        elapsed = time.perf_counter_ns() - started
        try:
            response = self._packed(body, result, elapsed)
            if response.HasField("step"):
                response.step.server_ns = time.perf_counter_ns() - arrived
            return response if self._surely_fits(result) else self._checked_size(response, body.seq)
        except FAILURES as error:
            what = f"the request was executed, but its answer cannot be sent: {error}"
            return error_response(RemoteEnvError(what), body.seq)

    def _run(self, body: Any) -> Any:
        if isinstance(body, env_pb2.StepRequest):
            return self._seen(self.environment.step(list(body.action)))
        if isinstance(body, env_pb2.RenderRequest):
            return self.environment.render()
        if isinstance(body, env_pb2.RolloutRequest):
            return self._roll_out(body)
        command = ResetCommand(
            seed=body.seed if body.HasField("seed") else None,
            row_seeds=[row.seed if row.HasField("seed") else None for row in body.row_seeds] or None,
            options=_options(body),
            mask=[bool(byte) for byte in body.reset_mask] or None,
        )
        outcome = self.environment.reset(command)
        self._rollouts.forget_walk()
        return self._seen(outcome)

    def _seen(self, outcome: Outcome) -> Outcome:
        self._observation = outcome.observation
        return outcome

    def _roll_out(self, body: env_pb2.RolloutRequest) -> Response:
        if not self._observation:
            raise NeedsReset("the environments have not been reset since they were opened: call reset() first")

        def fill(step: env_pb2.StepResponse, outcome: Outcome, elapsed: int) -> None:
            self._fill_step(step, self._seen(outcome), elapsed)

        response, room = Response(), self._max_message_bytes
        self._rollouts.run(body, self._observation, response.rollout, fill, room, lambda: self.closed)
        if not response.rollout.steps:
            raise self._because
        return response

    def hold_policy(self, policy: env_pb2.Policy) -> bool:
        """Take a policy that was sent in pieces; False if it was there already.

        Raises:
            InvalidPolicy, Unsupported: it is refused. DeadlineExceeded: the session is busy.
        """
        if not self._lock.acquire(timeout=self._limits.wait_seconds):
            raise DeadlineExceeded("a request of this session is executing; send the policy later")
        try:
            self.touch()
            return self._rollouts.hold(policy)
        finally:
            self._lock.release()

    def _packed(self, body: Any, result: Any, elapsed: int) -> Response:
        if isinstance(body, env_pb2.RenderRequest):
            return Response(render=env_pb2.RenderResponse(seq=body.seq, frame=encode_value(result)))
        if isinstance(body, env_pb2.RolloutRequest):
            filled: Response = result
            return filled
        response, outcome = Response(), result
        if isinstance(body, env_pb2.ResetRequest):
            response.reset.seq, response.reset.env_ns = body.seq, elapsed
            response.reset.observation.extend(outcome.observation)
            self._fill_info(response.reset, outcome)
            return response
        response.step.seq = body.seq  # filled in place: building it apart and setting it would copy it
        self._fill_step(response.step, outcome, elapsed)
        return response

    def _fill_step(self, step: env_pb2.StepResponse, outcome: Outcome, elapsed: int) -> None:
        step.env_ns = elapsed
        step.observation.extend(outcome.observation)
        step.reward, step.terminated, step.truncated = outcome.reward, outcome.terminated, outcome.truncated
        if outcome.valid:
            step.valid = outcome.valid
        if outcome.was_reset:
            step.was_reset = outcome.was_reset
        if outcome.final_rows:
            step.final_rows.extend(outcome.final_rows)
            step.final_observation.extend(outcome.final_observation)
        self._fill_info(step, outcome)

    def _fill_info(self, message: env_pb2.StepResponse | env_pb2.ResetResponse, outcome: Outcome) -> None:
        info = outcome.info
        if self._info_keys is not None:
            info = {key: value for key, value in info.items() if key in self._info_keys}
        if info:
            message.info.CopyFrom(encode_value(info))

    def _surely_fits(self, result: Any) -> bool:
        """Whether an answer's size needs no look: protobuf counts by serialising, a copy of all observations."""
        if not isinstance(result, Outcome) or result.info:
            return False
        blocks = [*result.observation, *result.final_observation]
        columns = len(result.reward) + 9 * len(result.terminated)  # with three more flags, and the numbers of the rows
        return sum(map(len, blocks)) + 8 * len(blocks) + columns + _HEADROOM <= self._max_message_bytes

    def _checked_size(self, response: Response, seq: int) -> Response:
        # Only infos, frames and variable leaves can exceed what Open has checked.
        size = response.ByteSize()
        if size <= self._max_message_bytes:
            return response
        kind = response.WhichOneof("response")
        return error_response(
            MessageTooLarge(
                f"the answer to this {kind} has {size} bytes, the limit is {self._max_message_bytes}. The {kind} was "
                "executed. Raise the limit on both sides, or ask for fewer infos.",
                size=size,
                limit=self._max_message_bytes,
            ),
            seq,
        )

    # ---------------------------------------------------------------------------------------------------- close

    def close(self, because: BridgeError | None = None) -> threading.Thread:
        """Answer no more requests, and close the environment once the one under way is done. Idempotent.

        Returns the thread that does: an environment's close may hang, and only that thread waits for it.
        ``because`` is what later requests are answered.
        """
        with self._attaching:
            if self._closing is None:
                self._because = because or SessionExpired(f"session {self.id} is closed. Open a new one.")
                self.closed = True
                name = f"rlbridge-close-{self.id}"
                self._closing = threading.Thread(target=self._close_when_free, name=name, daemon=True)
                self._closing.start()
            return self._closing

    def _close_when_free(self) -> None:
        with self._lock:
            close_quietly(self.environment)


def _content(request: Request) -> bytes:
    """What makes two requests the same: everything but who is speaking."""
    copy = Request()
    copy.CopyFrom(request)
    getattr(copy, str(copy.WhichOneof("request"))).ClearField("session")
    return copy.SerializeToString(deterministic=True)


def error_response(error: BridgeError, seq: int) -> Response:
    """An error as an answer to the request ``seq``."""
    return Response(error=encode_error(error), error_seq=seq)


def _options(body: env_pb2.ResetRequest) -> dict[str, Any] | None:
    if not body.HasField("options"):
        return None
    options = decode_value(body.options)
    if not isinstance(options, dict):
        raise WireError(f"reset options must be a map, got {type(options).__name__}")
    return options


def largest_message(environment: Environment) -> int:
    """Bytes that a step's answer can take, but for infos and leaves that vary in size."""
    rows = max(environment.num_envs, 1)
    copies = 2 if environment.autoreset_mode is AutoresetMode.SAME_STEP else 1  # observation and final observation
    per_row = copies * environment.observations.nbytes + 8 + 4 + 4  # reward, four flags, a row number
    return rows * per_row + _HEADROOM


def _wanted_keys(request: env_pb2.OpenRequest) -> frozenset[str] | None:
    if not request.HasField("infos"):
        return None
    keys = request.infos.keys
    return frozenset(keys) | frozenset(f"_{key}" for key in keys)
