"""The host: environments behind sessions. All that a transport knows of the server.

A transport authenticates a caller, hands over its requests whole, and sends back what it gets. Every thread of every
transport may call at the same time.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server import rollout
from rlbridge.server.callers import Callers
from rlbridge.server.catalog import Offer
from rlbridge.server.environment import Environment
from rlbridge.server.exchange import Exchange
from rlbridge.server.failure import close_quietly
from rlbridge.server.limits import ServerLimits
from rlbridge.server.session import Request, Response, Session, largest_message
from rlbridge.v1 import env_pb2, rollout_pb2
from rlbridge.version import __version__
from rlbridge.wire import PROTOCOL_VERSION, BlockCodec, encode_space, encode_value
from rlbridge.wire.errors import (
    CapacityExhausted,
    DeadlineExceeded,
    EnvLost,
    InvalidPolicy,
    MessageTooLarge,
    ProtocolMismatch,
    SessionExpired,
    Unavailable,
    UnknownEnvironment,
    Unsupported,
    WireError,
)
from rlbridge.wire.memory import keep_memory

log = logging.getLogger("rlbridge.server")

_CAPABILITIES = ("exchange", "keepalive", "render", "reset_mask", "resume", "spaces")
_MODES = {
    env_pb2.AUTORESET_MODE_NEXT_STEP: AutoresetMode.NEXT_STEP,
    env_pb2.AUTORESET_MODE_SAME_STEP: AutoresetMode.SAME_STEP,
    env_pb2.AUTORESET_MODE_DISABLED: AutoresetMode.DISABLED,
}
_MODE_NUMBERS = {mode: number for number, mode in _MODES.items()}
_CLOSE_SECONDS = 5.0
_ALONE_SECONDS = 0.05


class Host:
    """Offers environments and keeps the sessions.

    Args:
        offers: the first is the default.
        limits: what is allowed.
    """

    def __init__(self, offers: Sequence[Offer], limits: ServerLimits | None = None) -> None:
        self.limits = limits or ServerLimits()
        self.epoch = secrets.randbits(64)
        self._offers = {offer.name: offer for offer in offers}
        self._probes: dict[str, env_pb2.SpacesResponse] = {}
        self._render_modes: dict[str, list[str]] = {}
        self._autoreset_modes: dict[str, tuple[AutoresetMode, ...]] = {}
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._opens: dict[bytes, Future[Session]] = {}
        self._callers = Callers(self.limits)
        self._streams: set[Exchange] = set()
        self._latest, self._changed = 0, 0.0  # which stream was used, and since when no other one
        self._stopping = threading.Event()
        for offer in offers:
            self._probe(offer)
        threading.Thread(target=self._tidy, name="rlbridge-leases", daemon=True).start()

    def _probe(self, offer: Offer) -> None:
        """Make each environment once: a broken one is found before the server says that it serves."""
        env = offer.check()
        try:
            observations, actions = BlockCodec(env.observation_space), BlockCodec(env.action_space)
            self._probes[offer.name] = env_pb2.SpacesResponse(
                observation_space=encode_space(env.observation_space),
                action_space=encode_space(env.action_space),
                observation_layout=observations.layout(),
                action_layout=actions.layout(),
            )
            modes = (env.metadata or {}).get("render_modes", [])
            self._render_modes[offer.name] = [str(mode) for mode in modes if mode != "human"]  # the server's screen
        finally:
            close_quietly(env)
        self._autoreset_modes[offer.name] = offer.autoreset_modes()

    # ------------------------------------------------------------------------------------------------- control

    def describe(self, request: env_pb2.DescribeRequest) -> env_pb2.DescribeResponse:
        """Who this server is and what it offers. Never fails: a client of another version must be able to read it."""
        common = PROTOCOL_VERSION if PROTOCOL_VERSION in request.protocol_versions else 0
        return env_pb2.DescribeResponse(
            protocol_version=common,
            protocol_versions=[PROTOCOL_VERSION],
            server=f"rlbridge {__version__}",
            epoch=self.epoch,
            capabilities=[*_CAPABILITIES, *(["rollout.onnx"] if rollout.available() else [])],
            limits=env_pb2.Limits(
                max_sessions=self.limits.max_sessions,
                open_sessions=len(self._sessions),
                max_envs=self.limits.max_envs,
                max_message_bytes=self.limits.max_message_bytes,
                kept_outcomes=self.limits.kept_outcomes,
                lease_ms=int(self.limits.lease_seconds * 1000),
            ),
            environments=[
                env_pb2.EnvironmentOffer(
                    name=offer.name,
                    summary=offer.summary,
                    render_modes=self._render_modes[offer.name],
                    autoreset_modes=[_MODE_NUMBERS[mode] for mode in self._autoreset_modes[offer.name]],
                )
                for offer in self._offers.values()
            ],
        )

    def spaces(self, request: env_pb2.SpacesRequest) -> env_pb2.SpacesResponse:
        """The spaces of one environment on offer."""
        return self._probes[self._offer(request.environment).name]

    def open(self, request: env_pb2.OpenRequest, caller: str = "") -> env_pb2.OpenResponse:
        """Make a session, or find the one that this open_key has made already.

        ``caller`` is whoever the transport says it is: a network address.

        Raises:
            ProtocolMismatch, UnknownEnvironment, Unsupported, CapacityExhausted, MessageTooLarge, RemoteEnvError,
            WireError, Unavailable: nothing was opened.
        """
        if request.protocol_version != PROTOCOL_VERSION:
            raise ProtocolMismatch(
                f"the client speaks protocol version {request.protocol_version}, this server {PROTOCOL_VERSION}. "
                "Install matching versions of rlbridge on both sides.",
                expected=PROTOCOL_VERSION,
                got=request.protocol_version,
            )
        if not 16 <= len(request.open_key) <= 64:
            raise WireError(f"open_key has {len(request.open_key)} bytes; 16 to 64 random ones are needed")
        with self._lock:
            known = self._opens.get(request.open_key)
            if known is None:
                self._check_capacity(request)
                self._callers.admit(caller)
                opening: Future[Session] = Future()
                self._opens[request.open_key] = opening
        if known is not None:
            return self._opened_before(known, request)
        try:
            session = self._open(request, caller)
        except BaseException as error:
            with self._lock:
                del self._opens[request.open_key]
                self._callers.release(caller)
            opening.set_exception(error)
            raise
        with self._lock:  # at once: a repeated Open must find the session, and a lease that runs out the open_key
            self._sessions[session.id] = session
            opening.set_result(session)
        return session.opened

    def _opened_before(self, known: Future[Session], request: env_pb2.OpenRequest) -> env_pb2.OpenResponse:
        """The answer to an Open that was received before, perhaps still under way."""
        try:
            session = known.result(timeout=self.limits.wait_seconds)
        except FutureTimeout:
            raise DeadlineExceeded(
                f"the session of this open_key is still being made after {self.limits.wait_seconds:g} s; ask again",
                limit=self.limits.wait_seconds,
            ) from None
        if (request.environment, request.num_envs, request.render_mode) != session.asked:
            raise WireError("open_key has opened a session with other parameters; draw a new key for each session")
        return session.opened

    def _check_capacity(self, request: env_pb2.OpenRequest) -> None:
        if self._stopping.is_set():
            raise Unavailable("the server is stopping and opens no new sessions")
        if len(self._opens) >= self.limits.max_sessions:
            raise CapacityExhausted(
                f"{len(self._opens)} of {self.limits.max_sessions} sessions are open. Close one, wait for a lease to "
                "run out, or serve with a larger --max-sessions.",
                limit=self.limits.max_sessions,
                open=len(self._opens),
            )
        if request.num_envs > self.limits.max_envs:
            raise CapacityExhausted(
                f"{request.num_envs} sub-environments were asked for, this server allows {self.limits.max_envs} a "
                "session. Ask for fewer, or serve with a larger --max-envs.",
                limit=self.limits.max_envs,
                got=request.num_envs,
            )

    def _open(self, request: env_pb2.OpenRequest, caller: str) -> Session:
        offer = self._offer(request.environment)
        self._check_render_mode(offer, request.render_mode)
        mode = _MODES.get(request.autoreset_mode)
        if mode is None and request.autoreset_mode != env_pb2.AUTORESET_MODE_UNSPECIFIED:
            raise WireError(f"autoreset_mode {request.autoreset_mode} is unknown here")
        holder = f"{request.client or 'a client'} at {caller or 'this process'}"
        environment = offer.build(
            request.num_envs, mode, request.render_mode or None, self.limits.show_tracebacks, holder
        )
        try:
            largest = largest_message(environment)
            self._check_size(offer, environment, largest, request.max_message_bytes)
            keep_memory(largest)
            session = Session(environment, self.limits, request)
            session.caller = caller
            session.asked = (request.environment, request.num_envs, request.render_mode)
            metadata = {key: value for key, value in environment.metadata.items() if key != "autoreset_mode"}
            session.opened = env_pb2.OpenResponse(
                session=env_pb2.SessionRef(id=session.id, token=session.token, attachment=session.attachment),
                epoch=self.epoch,
                next_seq=session.next_seq,
                lease_ms=int(session.lease_seconds * 1000),
                kept_outcomes=self.limits.kept_outcomes,
                observation_space=encode_space(environment.observations.space),
                action_space=encode_space(environment.actions.space),
                observation_layout=environment.observations.layout(),
                action_layout=environment.actions.layout(),
                autoreset_mode=_MODE_NUMBERS[environment.autoreset_mode] if environment.autoreset_mode else 0,  # type: ignore[arg-type]
                largest_message_bytes=largest,
                metadata=encode_value(metadata),
                environment=offer.name,
                render_mode=request.render_mode,
                num_envs=environment.num_envs,
            )
        except BaseException:
            environment.close()
            raise
        log.info("session %s opened: %s, num_envs=%d, for %s", session.id, offer.name, request.num_envs, request.client)
        return session

    def _offer(self, name: str) -> Offer:
        if not name:
            return next(iter(self._offers.values()))
        try:
            return self._offers[name]
        except KeyError:
            raise UnknownEnvironment(
                f"no environment {name[:100]!r} is served here; on offer: {', '.join(self._offers)}", name=name[:100]
            ) from None

    def _check_render_mode(self, offer: Offer, render_mode: str) -> None:
        offered = self._render_modes[offer.name]
        if render_mode and render_mode not in offered:
            raise Unsupported(
                f"environment {offer.name!r} cannot render {render_mode[:100]!r} for a client; it can: "
                f"{', '.join(offered) or 'nothing'}",
                got=render_mode[:100],
            )

    def _check_size(self, offer: Offer, environment: Environment, largest: int, client_limit: int) -> None:
        rows = max(environment.num_envs, 1)
        limits = [(self.limits.max_message_bytes, "server")] + ([(client_limit, "client")] if client_limit else [])
        limit, side = min(limits)
        if largest > limit:
            raise MessageTooLarge(
                f"a step of {offer.name!r} with {rows} environment(s) can take {largest} bytes, the {side}'s limit is "
                f"{limit}. Raise max_message_bytes on the {side}, or use fewer environments a session.",
                size=largest,
                limit=limit,
                side=side,
            )

    def resume(self, request: env_pb2.ResumeRequest) -> env_pb2.ResumeResponse:
        """Attach to a living session again; whoever held it before is fenced off from now on.

        Raises:
            EnvLost, SessionExpired: there is nothing to attach to.
            Superseded: another holder, or a later attempt of this one, was here first.
        """
        ref = env_pb2.SessionRef(id=request.session_id, token=request.token)
        session = self.session(ref, request.epoch)
        attachment = session.attach(request)
        response = env_pb2.ResumeResponse(oldest_kept_seq=session.oldest_kept_seq)
        response.session.CopyFrom(session.opened)
        response.session.session.attachment = attachment
        response.session.next_seq = session.next_seq
        if session.last_outcome is not None:
            response.last_outcome.CopyFrom(session.last_outcome)
        log.info("session %s resumed, attachment %d, for %s", session.id, attachment, request.client)
        return response

    def keep_alive(self, request: env_pb2.KeepAliveRequest) -> env_pb2.KeepAliveResponse:
        """Renew a session's lease.

        Raises:
            EnvLost, SessionExpired, Superseded: it is not the caller's to renew.
        """
        session = self.session(request.session, request.epoch)
        session.check_attachment(request.session.attachment)
        session.touch()
        return env_pb2.KeepAliveResponse(lease_ms=int(session.lease_seconds * 1000))

    def put_policy(self, pieces: Iterator[rollout_pb2.PutPolicyRequest]) -> rollout_pb2.PutPolicyResponse:
        """Take a policy in pieces; what is too large is refused before it is here.

        Raises:
            EnvLost, SessionExpired, Superseded: the session is not the caller's. InvalidPolicy, Unsupported, WireError.
        """
        first = next(pieces, None)
        if first is None or not first.HasField("header"):
            raise WireError("a policy begins with its header")
        header, model = first.header, bytearray()
        session = self.session(header.session, header.epoch)
        session.check_attachment(header.session.attachment)
        if header.size_bytes > rollout.MAX_MODEL_BYTES:
            raise InvalidPolicy(f"the model has {header.size_bytes:,} bytes; {rollout.MAX_MODEL_BYTES:,} are allowed")
        for piece in pieces:
            model += piece.data
            if len(model) > header.size_bytes:
                raise InvalidPolicy(f"{len(model):,} bytes of a model came, {header.size_bytes:,} were announced")
            session.touch()
        policy = env_pb2.Policy()
        policy.CopyFrom(header.policy)
        policy.model = bytes(model)
        return rollout_pb2.PutPolicyResponse(known=not session.hold_policy(policy))

    def close(self, request: env_pb2.CloseRequest) -> env_pb2.CloseResponse:
        """End a session. What is not there is closed already."""
        try:
            session = self.session(request.session, request.epoch)
        except (SessionExpired, EnvLost):
            return env_pb2.CloseResponse()
        session.check_attachment(request.session.attachment)
        self._remove(session)
        return env_pb2.CloseResponse()

    # ------------------------------------------------------------------------------------------------ hot path

    def execute(self, request: Request) -> Response:
        """Answer one Reset, Step or Render that names its session; an error is an answer, never an exception."""
        return Exchange(self).execute(request)

    def exchange(self, end: Callable[[], object] | None = None) -> Exchange:
        """The host's end of one stream of requests; the transport closes it when the stream ends.

        ``end`` ends the stream from this side. It is called, from another thread, for a stream that nobody will miss:
        one that never named a session, or whose session is gone. A stream that ends leaves its session as it is.
        """
        return Exchange(self, end)

    def watch(self, exchange: Exchange) -> None:
        """A stream has begun."""
        self._streams.add(exchange)

    def used(self, exchange: Exchange) -> None:
        """A stream has brought a request."""
        if self._latest != id(exchange):  # not the stream itself, which would be kept
            self._latest, self._changed = id(exchange), time.monotonic()

    @property
    def alone(self) -> bool:
        """Whether only one stream has brought requests of late: its thread keeps no other one waiting."""
        return time.monotonic() - self._changed > _ALONE_SECONDS

    def forget(self, exchange: Exchange) -> None:
        """A stream has ended."""
        self._streams.discard(exchange)

    def session(self, ref: env_pb2.SessionRef, epoch: int) -> Session:
        """The session that a caller names and holds the token of.

        Raises:
            EnvLost: it belonged to a server process that is gone.
            SessionExpired: there is none, or the token is another one's.
        """
        if epoch != self.epoch:
            raise EnvLost(
                "the server that held this session is gone (it was restarted), and the environment's state with it. "
                "Open a new session and reset.",
                expected=self.epoch,
                got=epoch,
            )
        session = self._sessions.get(ref.id)
        if session is None and self._stopping.is_set():
            raise Unavailable("the server is stopping; the session ends with it")
        if session is None or not hmac.compare_digest(session.token, ref.token):
            # One answer for both, so that nobody learns which ids exist.
            raise SessionExpired(
                f"no session {ref.id[:40]!r} with this token: it was closed, or its lease ran out (at most "
                f"{self.limits.lease_seconds:g} s without a sign of its client). Open a new one."
            )
        return session

    # --------------------------------------------------------------------------------------------------- ending

    def _remove(self, session: Session, wait: bool = True) -> None:
        with self._lock:
            if self._sessions.pop(session.id, None) is None:
                return
            self._callers.release(session.caller)
            for key, opening in list(self._opens.items()):
                if opening.done() and not opening.exception() and opening.result() is session:
                    del self._opens[key]
        closing = session.close()
        if wait:
            closing.join(_CLOSE_SECONDS)
            if closing.is_alive():
                log.warning("session %s is still executing or closing; it ends by itself", session.id)

    def _tidy(self) -> None:
        """Every so often: close sessions whose lease ran out, end streams that have no session."""
        pause = min(max(min(self.limits.lease_seconds, self.limits.silent_seconds) / 4, 0.05), 1.0)
        while not self._stopping.wait(pause):
            try:
                self._end_what_is_left()
            except Exception:  # one that cannot be ended must not keep all others for ever
                log.exception("ending expired sessions and idle streams failed; the next round tries again")

    def _end_what_is_left(self) -> None:
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if session.expired(now):
                log.info("session %s expired after %g s without a sign", session.id, session.lease_seconds)
                self._remove(session, wait=False)
        for stream in list(self._streams):
            if stream.useless(now):
                stream.end()

    def stop(self) -> bool:
        """Answer no new request and close every session, letting those under way finish within 5 s together.

        Returns whether all of them did. Idempotent.
        """
        self._stopping.set()
        sessions = list(self._sessions.values())
        because = Unavailable("the server is stopping, and the session ends with it")
        closing = [session.close(because) for session in sessions]  # all at once, then wait for all
        for session in sessions:
            self._remove(session, wait=False)
        end = time.monotonic() + _CLOSE_SECONDS
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in closing)
