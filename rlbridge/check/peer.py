"""One session as the checks hold it: it counts like a good client, and sends what a bad one would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rlbridge.check.result import Failed, Skipped
from rlbridge.client.link import Link
from rlbridge.v1 import env_pb2
from rlbridge.wire import BlockCodec, decode_space
from rlbridge.wire.errors import BridgeError, DeadlineExceeded, Unavailable, encode_error

Request = env_pb2.ExchangeRequest
Response = env_pb2.ExchangeResponse
Outcome = tuple[list[bytes], bytes, bytes, bytes]

SEED = 20_240
"""Every check that seeds at all begins with this seed, so that their trajectories can be compared."""

_ACTION_SEED = 4_711
_USED_UP = ("ENVIRONMENT_ERROR", "MESSAGE_TOO_LARGE")  # errors that are outcomes; see StepRequest in env.proto


def outcome_of(response: Response) -> Outcome:
    """What of an answer depends on the environment alone: observation, reward, terminated, truncated."""
    if response.HasField("reset"):
        return list(response.reset.observation), b"", b"", b""
    step = response.step
    return list(step.observation), step.reward, step.terminated, step.truncated


def described(response: Response) -> str:
    """An answer in a few words, for ``seen``."""
    kind = response.WhichOneof("response")
    if kind is None:
        return "an answer without a kind"
    if kind == "error":
        return f"{response.error.reason} ({response.error.message[:200]})"
    body = getattr(response, kind)
    return f"an answer to {kind} {body.seq}{' (replayed)' if body.replayed else ''}"


class Peer:
    """The client's end of one session, with a link of its own.

    Args:
        link: closed by whoever made it.
        opened: what Open answered.
        timeout: seconds allowed for each answer.
        streaming: whether requests go over Exchange, or one by one.
        stream: which stream of actions row 0 takes; row i takes the next ones.

    Attributes:
        seq: the number that the next new request takes.
        n: ``num_envs``; ``rows`` is at least 1.
        over: the episode of a single environment has ended, or not begun.
        again: the latest request was sent twice, since its stream was ended before the answer came.
    """

    def __init__(
        self, link: Link, opened: env_pb2.OpenResponse, timeout: float, streaming: bool, stream: int = 0
    ) -> None:
        self.link = link
        self.opened = opened
        self.timeout = timeout
        self.streaming = streaming
        self.ref = opened.session
        self.epoch = opened.epoch
        self.seq = opened.next_seq
        self.n = opened.num_envs
        self.rows = max(self.n, 1)
        self.over, self.again = True, False
        self.observations = BlockCodec(decode_space(opened.observation_space))
        self.actions = BlockCodec(decode_space(opened.action_space))
        self._samples = [_samples(opened, _ACTION_SEED + stream + row) for row in range(self.rows)]

    # ------------------------------------------------------------------------------------------------- requests

    def action(self) -> list[bytes]:
        """The next actions of the rows' streams, which are the same in every run."""
        samples = [next(stream) for stream in self._samples]
        return self.actions.stack(samples) if self.n else self.actions.pack(samples[0])

    def step_request(self, action: list[bytes] | None = None, seq: int | None = None) -> Request:
        """A Step under the next number, or under ``seq``."""
        request = Request()
        request.step.action.extend(self.action() if action is None else action)
        return self._addressed(request, request.step, seq)

    def reset_request(self, seed: int | None = None, seq: int | None = None, mask: bytes = b"") -> Request:
        """A Reset under the next number, or under ``seq``."""
        request = Request()
        request.reset.SetInParent()
        if seed is not None:
            request.reset.seed = seed
        request.reset.reset_mask = mask
        return self._addressed(request, request.reset, seq)

    def rollout_request(
        self, steps: int, sampling: env_pb2.Sampling = env_pb2.SAMPLING_UNIFORM, first_step: int = 0
    ) -> Request:
        """A Rollout under the next number."""
        request = Request(rollout=env_pb2.RolloutRequest(steps=steps, sampling=sampling, first_step=first_step))
        return self._addressed(request, request.rollout, None)

    def next_request(self) -> Request:
        """What a client would send now: a Reset where an episode must begin, else a Step."""
        return self.reset_request() if self.over else self.step_request()

    def _addressed(self, request: Request, body: Any, seq: int | None) -> Request:
        body.session.CopyFrom(self.ref)
        body.epoch = self.epoch
        body.seq = self.seq if seq is None else seq
        return request

    # ------------------------------------------------------------------------------------------------- exchange

    def ask(self, request: Request) -> Response:
        """Send a request as it is and return the answer, an error too; counts the number if it was used up."""
        if not self.streaming:
            return self._counted(self._unary(request))
        began, self.again = time.monotonic(), False
        try:
            self.link.send(request)
            return self.receive()
        except (Unavailable, DeadlineExceeded):
            # A server may end a stream of which nothing can come any more, as of a session that is closed. The request
            # is as good over a new one: that is what numbers are for. Silence, though, is not waited for twice.
            if time.monotonic() - began > self.timeout / 2:
                raise
        self.again = True
        self.link.drop()
        self.link.send(request)
        return self.receive()

    def receive(self) -> Response:
        """The next answer of the stream, counted."""
        return self._counted(self.link.receive(self.timeout))

    def _unary(self, request: Request) -> Response:
        kind = str(request.WhichOneof("request"))
        body = getattr(request, kind)
        response = Response()
        try:
            getattr(response, kind).CopyFrom(self.link.call(body, self.timeout))
        except BridgeError as error:
            response.error.CopyFrom(encode_error(error))
            response.error_seq = body.seq
        return response

    def _counted(self, response: Response) -> Response:
        kind = response.WhichOneof("response")
        if kind == "error":
            if response.error.reason in _USED_UP and response.error_seq == self.seq:
                self.seq += 1
            return response
        body = getattr(response, str(kind)) if kind else None
        if body is not None and body.seq == self.seq:
            self.seq += 1
            if kind != "render":
                self.over = kind == "step" and self.n == 0 and b"\x01" in (body.terminated, body.truncated)
        return response

    def refused(self, request: Request, reason: str, what: str) -> Response:
        """Send a request that must be answered with an error of one reason.

        Raises:
            Failed: it was answered otherwise; ``what`` describes the request.
        """
        response = self.ask(request)
        if response.error.reason != reason:
            raise Failed(f"{reason} for {what}", described(response))
        return response

    def answered(self, request: Request) -> Response:
        """Send a request that must be executed, or replayed.

        Raises:
            Failed: it was answered with an error, or under another number.
        """
        response = self.ask(request)
        kind = str(request.WhichOneof("request"))
        seq = getattr(request, kind).seq
        if response.WhichOneof("response") != kind or getattr(response, kind).seq != seq:
            raise Failed(f"an answer to {kind} {seq}", described(response))
        return response

    def executed(self, request: Request) -> Response:
        """Send a new request that must be executed.

        Raises:
            Failed: it was not, or is said to be a replay, which is right only of one that was sent twice.
        """
        response = self.answered(request)
        kind = str(request.WhichOneof("request"))
        if getattr(response, kind).replayed and not self.again:
            raise Failed(f"{kind} {getattr(request, kind).seq} executed, replayed = false", described(response))
        return response

    def move(self) -> Outcome:
        """What a client would do now, executed."""
        return outcome_of(self.executed(self.next_request()))

    def start(self, seed: int | None = SEED) -> Outcome:
        """The first reset, seeded; without the seed where the environment says that it cannot be seeded."""
        response = self.ask(self.reset_request(seed))
        if response.error.reason == "UNSUPPORTED" and seed is not None:
            return self.start(None)
        if not response.HasField("reset"):
            raise Failed(f"an answer to reset {self.seq}", described(response))
        return outcome_of(response)

    def seeded(self, seed: int) -> Outcome:
        """A reset with a seed.

        Raises:
            Skipped: the environment says that it cannot be seeded.
        """
        request = self.reset_request(seed)
        response = self.ask(request)
        if response.error.reason == "UNSUPPORTED":
            raise Skipped(f"the environment cannot be seeded: {response.error.message[:200]}")
        if not response.HasField("reset"):
            raise Failed(f"an answer to reset {request.reset.seq} with seed {seed}", described(response))
        return outcome_of(response)

    # -------------------------------------------------------------------------------------------------- control

    def reconnect(self, resume: bool) -> None:
        """Lose the connection and make a new one; with ``resume``, attach to the session again through it."""
        self.link.drop()
        if resume:
            self.ref = self.resume().session.session

    def resume(self, holder: bytes = b"", attempt: int = 0, take_over: bool = False) -> env_pb2.ResumeResponse:
        """Resume, without adopting the new attachment."""
        request = env_pb2.ResumeRequest(
            session_id=self.ref.id,
            token=self.ref.token,
            epoch=self.epoch,
            client="check",
            holder=holder,
            attempt=attempt,
            take_over=take_over,
        )
        answer: env_pb2.ResumeResponse = self.link.call(request, self.timeout)
        return answer

    def close(self) -> None:
        """Close the session."""
        self.link.call(env_pb2.CloseRequest(session=self.ref, epoch=self.epoch), self.timeout)


def _samples(opened: env_pb2.OpenResponse, seed: int) -> Iterator[Any]:
    space = decode_space(opened.action_space)
    space.seed(seed)
    while True:
        yield space.sample()
