"""The client's end of a session: it numbers the requests, and gets each one answered however the network behaves.

A request whose answer does not come is never given up blindly nor sent anew blindly: the session is resumed over a new
connection, which fences the old one off, and the same request goes out under the same number. The server executes it or
has its outcome still.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import math
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from gymnasium.vector import AutoresetMode

from rlbridge.client.link import Link
from rlbridge.client.periodic import Periodic
from rlbridge.client.retry import Retry
from rlbridge.v1 import env_pb2
from rlbridge.version import __version__
from rlbridge.wire import PROTOCOL_VERSION, BlockCodec, decode_space, decode_value
from rlbridge.wire.errors import (
    BridgeError,
    DeadlineExceeded,
    EnvLost,
    MessageTooLarge,
    ProtocolMismatch,
    SequenceGap,
    SessionExpired,
    Unavailable,
    WireError,
    decode_error,
)
from rlbridge.wire.memory import keep_memory

_MODES = {
    AutoresetMode.NEXT_STEP: env_pb2.AUTORESET_MODE_NEXT_STEP,
    AutoresetMode.SAME_STEP: env_pb2.AUTORESET_MODE_SAME_STEP,
    AutoresetMode.DISABLED: env_pb2.AUTORESET_MODE_DISABLED,
}
_MODE_OF = {number: mode for mode, number in _MODES.items()}
# Refusals that leave the sequence number to the next request; see StepRequest in env.proto.
_NOT_USED_UP = frozenset(
    {
        *("INVALID_ACTION", "INVALID_REQUEST", "NEEDS_RESET", "UNSUPPORTED", "DEADLINE"),
        *("INVALID_POLICY", "UNKNOWN_POLICY", "SEQ_GAP"),
    }
)
_UNREACHABLE = (Unavailable, DeadlineExceeded)
_SILENCE = 5.0  # seconds without an answer, after which somebody who waits should know why

log = logging.getLogger("rlbridge.client")


def _body(message: env_pb2.ExchangeRequest) -> Any:
    """The one of its parts that is set."""
    return getattr(message, str(message.WhichOneof("request")))


def _content(message: env_pb2.ExchangeRequest) -> bytes:
    """A request but for its number and its sender."""
    copy = env_pb2.ExchangeRequest()
    copy.CopyFrom(message)
    body = _body(copy)
    for field in ("session", "seq", "epoch"):
        body.ClearField(field)
    return copy.SerializeToString(deterministic=True)


class RequestPending(RuntimeError):
    """``send`` while an answer is still to be received, or ``recv`` without anything sent."""


class ForkedProcess(RuntimeError):
    """A process uses an environment that its parent made; connections do not survive a fork."""


class ClientSession:
    """One environment or batch on a server.

    Args:
        link: how to reach the server; closed with the session.
        where: the target, for messages.
        environment: a name on offer there; empty for the first.
        num_envs: 0 for a single environment.
        autoreset_mode: None for the environment's default.
        retry: patience with a server that does not answer.
        max_message_bytes: the largest message this side takes.
        resume: another process's ``ticket``; the session is taken over instead of opened.

    Attributes:
        observations, actions: codecs of the two spaces of one environment.
        autoreset_mode: in effect; None for a single environment.
        metadata: the environment's own.
        kept_outcomes: how many requests may be under way at once.
        reconnects: connections lost and made again so far.
        last_outcome: with ``resume``, what the newest request of the former holder was answered.

    Raises:
        BridgeError: what ``Link.call`` raises, and the server's refusals of Open.
    """

    def __init__(
        self,
        link: Link,
        where: str,
        *,
        environment: str = "",
        num_envs: int = 0,
        autoreset_mode: AutoresetMode | None = None,
        render_mode: str | None = None,
        retry: Retry | None = None,
        max_message_bytes: int = 0,
        resume: str | None = None,
    ) -> None:
        self._link = link
        self.where = where
        self.retry = retry or Retry()
        self.reconnects = 0
        self.last_outcome: env_pb2.ExchangeResponse | None = None
        self._process = os.getpid()
        self._closed = threading.Event()
        self._in_flight: deque[env_pb2.ExchangeRequest] = deque()  # oldest first; more than one of rollouts only
        self._sent = 0  # how many of them are on their way; others wait until the link takes them
        self._void = False  # one before those in flight was answered with an error: nobody wants their answers
        self._unanswered = False  # the oldest one was given up on: its answer must be asked for anew
        self._keep_alive: Periodic | None = None
        self._open_request = env_pb2.OpenRequest(
            protocol_version=PROTOCOL_VERSION,
            environment=environment,
            num_envs=num_envs,
            autoreset_mode=_MODES[autoreset_mode] if autoreset_mode else env_pb2.AUTORESET_MODE_UNSPECIFIED,
            render_mode=render_mode or "",
            max_message_bytes=max_message_bytes,
            client=f"rlbridge {__version__} pid {self._process}",
        )
        try:
            self.server = self._handshake()
            if resume is not None:
                self._take_over(resume)
            else:
                self._open()
        except BaseException:
            link.close()
            raise

    # ------------------------------------------------------------------------------------------ opening, resuming

    def _handshake(self) -> env_pb2.DescribeResponse:
        request = env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION], client=f"rlbridge {__version__}")
        # A wrong address should be told soon; a connection that breaks just now should not be taken for one.
        brief = replace(self.retry, timeout=min(self.retry.timeout, 10.0), total=min(self.retry.total, 1.0))
        server: env_pb2.DescribeResponse = self._persistently(
            lambda: self._link.call(request, brief.timeout), retry=brief
        )
        if server.protocol_version != PROTOCOL_VERSION:
            raise ProtocolMismatch(
                f"{self.where} ({server.server or 'unknown server'}) speaks protocol versions "
                f"{list(server.protocol_versions)}, this client {PROTOCOL_VERSION}. Install matching versions of "
                "rlbridge on both sides.",
                expected=PROTOCOL_VERSION,
                got=list(server.protocol_versions),
            )
        return server

    def _open(self, patient: bool = False) -> None:
        # The key makes repeating this harmless: an answer that was lost is given again.
        self._open_request.open_key = self._holder = secrets.token_bytes(16)
        self._attempts = 0
        self._adopt(
            self._persistently(lambda: self._link.call(self._open_request, self.retry.timeout), patient=patient)
        )

    def _adopt(self, opened: env_pb2.OpenResponse) -> None:
        self._reference = opened.session
        self._epoch = opened.epoch
        keep_memory(opened.largest_message_bytes)
        self._next_seq = opened.next_seq
        self.kept_outcomes = opened.kept_outcomes
        self.observations = BlockCodec(decode_space(opened.observation_space))
        self.actions = BlockCodec(decode_space(opened.action_space))
        self.num_envs = opened.num_envs
        self.render_mode: str | None = opened.render_mode or None
        self.autoreset_mode = _MODE_OF.get(opened.autoreset_mode)
        self.metadata: dict[str, Any] = decode_value(opened.metadata) if opened.HasField("metadata") else {}
        if self._keep_alive is None and "keepalive" in self.server.capabilities:
            self._keep_alive = Periodic(self._renew_lease, opened.lease_ms / 3000)

    def _renew_lease(self) -> None:
        """Called every third of a lease: a trainer may be busy with other things for longer than one."""
        if self._closed.is_set() or os.getpid() != self._process:
            return
        try:
            request = env_pb2.KeepAliveRequest(session=self._reference, epoch=self._epoch)
            self._link.call(request, min(self.retry.timeout, 10.0))
        except BridgeError:
            pass  # the next request finds out, and has the means to do something about it

    def reopen(self) -> None:
        """A new session with the same parameters, after the old one was lost. Waits for the server to come back.

        Raises:
            EnvLost: it did not, within the time allowed. SessionExpired: this session is closed.
        """
        self._check_usable()
        self._forget()
        self._link.drop()
        try:
            self._open(patient=True)
        except _UNREACHABLE as error:
            raise EnvLost(f"the server was lost and did not come back: {error.args[0]}", **error.details) from error

    @property
    def ticket(self) -> str:
        """What another process needs to take this session over: a secret, as good as the session itself."""
        parts = {
            "id": self._reference.id,
            "token": base64.b64encode(self._reference.token).decode(),
            "epoch": self._epoch,
        }
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()

    def _take_over(self, ticket: str) -> None:
        try:
            parts = json.loads(base64.urlsafe_b64decode(ticket))
            request = env_pb2.ResumeRequest(
                session_id=parts["id"], token=base64.b64decode(parts["token"]), epoch=parts["epoch"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise WireError(f"the ticket to resume is not one that `ticket` gave ({type(error).__name__})") from error
        self._holder, self._attempts = secrets.token_bytes(16), 1
        request.holder, request.attempt, request.take_over = self._holder, self._attempts, True
        resumed = self._link.call(request, self.retry.timeout)
        self._adopt(resumed.session)
        self.last_outcome = resumed.last_outcome if resumed.HasField("last_outcome") else None

    # ------------------------------------------------------------------------------------------------- requests

    def reset(self, request: env_pb2.ResetRequest) -> env_pb2.ResetResponse:
        """Reset and wait. Raises what ``receive`` raises."""
        message = env_pb2.ExchangeRequest(reset=request)
        self._send(message, message.reset)
        return self.receive().reset

    def step(self, action: list[bytes]) -> env_pb2.StepResponse:
        """Step and wait. Raises what ``receive`` raises."""
        self.send_step(action)
        return self.receive().step

    def render(self) -> Any:
        """The rendered frame. Raises what ``receive`` raises."""
        message = env_pb2.ExchangeRequest(render=env_pb2.RenderRequest())
        self._send(message, message.render)
        return decode_value(self.receive().render.frame)

    def send_step(self, action: list[bytes]) -> None:
        """Start a step; its answer is for ``receive``."""
        message = env_pb2.ExchangeRequest()
        message.step.action.extend(action)
        self._send(message, message.step)

    def send_rollout(self, request: env_pb2.RolloutRequest) -> None:
        """Start a rollout; its answer is for ``receive``. Others may be under way, as many as the server keeps outcomes
        of; where one of them is answered with an error, nothing is handed out of those behind it."""
        message = env_pb2.ExchangeRequest(rollout=request)
        self._send(message, message.rollout)

    def _send(self, message: env_pb2.ExchangeRequest, body: Any) -> None:
        """Number a request and start it, or have it wait its turn; ``body`` is the one of its parts that is set."""
        self._check_usable()
        if self._in_flight and self._settled(message):
            return
        body.seq, body.epoch = self._next_seq + len(self._in_flight), self._epoch
        goes = not self._in_flight or self._takes(message)
        self._in_flight.append(message)
        if not goes:
            return
        self._sent += 1
        try:
            self._put(message)
        except BridgeError:
            self._in_flight.pop()
            self._sent -= 1
            raise
        except BaseException:  # an interrupt: it may be on its way
            self._unanswered = True
            raise

    def _takes(self, message: env_pb2.ExchangeRequest) -> bool:
        """Whether a request may go out behind those in flight."""
        if self._sent < len(self._in_flight):
            return False
        # The oldest one is being executed, so it has been read, or is at the moment.
        oldest, *behind = (before.ByteSize() for before in self._in_flight)
        return max(oldest, sum(behind) + message.ByteSize()) <= self._link.ahead

    def _put(self, message: env_pb2.ExchangeRequest) -> None:
        """Send a request that has its number."""
        if not self._link.streaming:  # a stream remembers who is speaking
            _body(message).session.CopyFrom(self._reference)
        self._link.send(message)

    @property
    def rollouts(self) -> int:
        """How many rollouts are under way whose answers ``receive`` will give."""
        return 0 if self._void else sum(message.HasField("rollout") for message in self._in_flight)

    @property
    def broken_off(self) -> bool:
        """Whether waiting for the oldest request was given up: then it can be sent again, or ``receive`` goes on."""
        return bool(self._in_flight) and self._unanswered and not self._void

    def _settled(self, message: env_pb2.ExchangeRequest) -> bool:
        """What to do with a new request while others are in flight; True if it is one of those, repeated."""
        if self._void:
            self._take_all()
            return False
        if not self._unanswered:
            rollouts = message.HasField("rollout") and self._in_flight[0].HasField("rollout")
            if rollouts and len(self._in_flight) < self.kept_outcomes:
                return False
            many = f"{len(self._in_flight)} requests are" if len(self._in_flight) > 1 else "a request is"
            raise RequestPending(f"{many} under way: receive its answer first")
        if any(_content(before) == _content(message) for before in self._in_flight):
            return True
        if not message.HasField("reset"):
            raise RequestPending(
                "the request before this one was broken off without an answer, and may have been executed. Repeat it "
                "to get its answer, or reset()."
            )
        self._take_all()  # executed or not, a reset makes their outcomes void
        return False

    def _take_all(self) -> None:
        """Have everything that is in flight answered, and look at nothing of it."""
        while self._in_flight:
            before = len(self._in_flight)
            try:
                self._received()
            except BridgeError:
                if len(self._in_flight) == before:
                    raise

    def _check_usable(self) -> None:
        if self._closed.is_set():
            raise SessionExpired(f"this environment ({self.where}) is closed; make a new one")
        if os.getpid() != self._process:
            raise ForkedProcess(
                f"this environment was made in process {self._process} and is used in its fork {os.getpid()}. "
                "Make environments in the process that uses them."
            )

    def receive(self) -> env_pb2.ExchangeResponse:
        """The answer to the oldest request under way.

        Raises:
            InvalidAction, NeedsReset, Unsupported, WireError: refused; nothing happened, the session lives on.
            RemoteEnvError, MessageTooLarge: executed, and failed.
            EnvLost: the server that held the environment, or its session, is gone.
            Superseded: another client has taken the session over.
            Unavailable, DeadlineExceeded: the server could not be reached again within ``retry.total`` seconds. The
                request is still under way: repeating it, or calling ``receive`` once more, goes on trying.
        """
        self._check_usable()
        if not self._in_flight or self._void:
            raise RequestPending("no request is under way: send one first")
        return self._received()

    def _received(self) -> env_pb2.ExchangeResponse:
        repeat, self._unanswered = self._unanswered, True  # also if an interrupt breaks the waiting off
        try:
            response = self._repeat() if repeat else self._wait()
        except _UNREACHABLE as error:
            response = self._recover(error)
        except MessageTooLarge:  # sending or asking again would not make it smaller
            if len(self._in_flight) > 1:
                self._answered()
                self._void = self._unanswered = True
            else:
                self._give_up()
            raise
        return self._answer(response)

    def _wait(self) -> env_pb2.ExchangeResponse:
        response = self._link.receive(self.retry.timeout)
        # Not yet an answer: the request is still executing, or the server is about to go.
        if response.error.reason in (DeadlineExceeded.reason, Unavailable.reason):
            raise decode_error(response.error)
        return response

    def _answer(self, response: env_pb2.ExchangeResponse) -> env_pb2.ExchangeResponse:
        """Count the oldest request as answered, and raise the error if that is the answer."""
        kind = response.WhichOneof("response")
        if kind == "error":
            error = decode_error(response.error)
            if self._void:  # whether the one before took its number is not always known
                gap = error.reason == SequenceGap.reason
                self._next_seq = int(error.details.get("expected", 0)) if gap else response.error_seq
            if error.reason not in _NOT_USED_UP:
                self._next_seq += 1
            self._answered()
            self._void = bool(self._in_flight)  # those were sent in the belief that it would succeed
            raise error
        void = self._void
        self._answered()
        if kind is None:
            raise WireError("an answer has no kind; the server may speak a newer protocol")
        seq = getattr(response, kind).seq
        if seq != self._next_seq and not void:
            raise WireError(f"an answer to request {seq} where {self._next_seq} was asked")
        self._next_seq = seq + 1
        return response

    def _answered(self) -> None:
        """The oldest request has been: the next one goes out, if it has not."""
        self._in_flight.popleft()
        self._sent, self._unanswered = self._sent - 1, False
        if self._in_flight and not self._sent:
            self._sent = 1
            self._put(self._in_flight[0])
        self._void = self._void and bool(self._in_flight)

    def _recover(self, error: BridgeError) -> env_pb2.ExchangeResponse:
        if "resume" not in self.server.capabilities:
            self._forget()
            raise error
        response: env_pb2.ExchangeResponse = self._persistently(self._repeat, error)
        return response

    def _forget(self) -> None:
        """No request is in flight any more."""
        self._in_flight.clear()
        self._sent, self._unanswered, self._void = 0, False, False

    def _give_up(self) -> None:
        """Forget the request in flight, and learn from the server whether its number was used up."""
        self._forget()
        if "resume" in self.server.capabilities:
            self._next_seq = self._persistently(self._resume).next_seq

    def _repeat(self) -> env_pb2.ExchangeResponse:
        """Resume over a new connection and send what is in flight again, under its own numbers."""
        self._resume()
        for message in itertools.islice(self._in_flight, self._sent):
            self._put(message)
        return self._wait()

    def _resume(self) -> env_pb2.OpenResponse:
        """Attach anew over a new connection; what the session is like now."""
        self._link.drop()
        self._attempts += 1
        request = env_pb2.ResumeRequest(
            session_id=self._reference.id,
            token=self._reference.token,
            epoch=self._epoch,
            client=self._open_request.client,
            holder=self._holder,
            attempt=self._attempts,
        )
        try:
            resumed = self._link.call(request, self.retry.timeout)
        except (SessionExpired, EnvLost) as error:
            self._forget()
            raise EnvLost(f"{self.where}: {error.args[0]}", **error.details) from error
        self.reconnects += 1
        self._reference = resumed.session.session
        session: env_pb2.OpenResponse = resumed.session
        return session

    def _persistently(
        self, attempt: Any, error: BridgeError | None = None, *, retry: Retry | None = None, patient: bool = False
    ) -> Any:
        """Make attempts until one gets through or the time is used up; then the last failure is raised.

        ``error`` is how the first one failed already. A first one that only takes too long is the last one too, unless
        ``patient``: it was waited for.
        """
        retry = retry or self.retry
        if error is None:
            try:
                return attempt()
            except _UNREACHABLE as first:
                if not patient and not isinstance(first, Unavailable):
                    raise
                error = first
        began = time.monotonic()
        tell_after = _SILENCE
        for pause in retry.pauses():
            if self._closed.wait(pause):
                break
            if time.monotonic() - began > tell_after:
                log.warning("%s: no answer, trying again for %g s in all (%s)", self.where, retry.total, error.args[0])
                tell_after = math.inf
            self._link.drop()  # one that failed may refuse to try again for a while of its own
            try:
                return attempt()
            except _UNREACHABLE as again:
                error = again
        tried = f" (tried again for {retry.total:g} s)" if retry.total else ""
        raise type(error)(f"{error.args[0]}{tried}", **error.details) from error

    def close(self) -> None:
        """Close the environment at the server, if it can still be reached, and let the connection go. Idempotent."""
        if self._closed.is_set() or os.getpid() != self._process:
            return
        self._closed.set()
        if self._keep_alive is not None:
            self._keep_alive.stop()
        try:
            request = env_pb2.CloseRequest(session=self._reference, epoch=self._epoch)
            self._link.call(request, min(self.retry.timeout, 10.0))
        except BridgeError:
            pass  # gone already; else its lease will run out
        finally:
            self._link.close()
