"""The gRPC face of a host: it translates calls and errors, and knows nothing of environments."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NoReturn, TypeVar

from rlbridge.grpc_core import grpc

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rlbridge.server.auth import ServerTls, Tokens
from rlbridge.server.failure import FAILURES
from rlbridge.server.grpc_parsing import Malformed, Parsing, careful
from rlbridge.server.grpc_stream import answered, give_own_threads, works
from rlbridge.server.host import Host
from rlbridge.server.session import Request, Response
from rlbridge.server.unix_socket import answers
from rlbridge.v1 import env_pb2, env_pb2_grpc, rollout_pb2, rollout_pb2_grpc
from rlbridge.wire.errors import BridgeError, decode_error, encode_error

log = logging.getLogger("rlbridge.server")

_SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in ((env_pb2, "EnvService"), (rollout_pb2, "RolloutService"))
)
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
ERROR_TRAILER = "rlbridge-error-bin"

Req = TypeVar("Req")
Res = TypeVar("Res")


class PortTaken(OSError):
    """The address cannot be bound; the message says which and why."""


class GrpcServer:
    """Serves a host over gRPC.

    Threads: a stream holds one of the pool for as long as it is open, even where it is answered in its own. So there
    are two for every session that may be (a new stream may come before the old one is known to be dead) and some for
    the unary calls. A call beyond that is refused at once with RESOURCE_EXHAUSTED; none waits in silence.
    """

    def __init__(self, host: Host, tokens: Tokens) -> None:
        threads = 2 * host.limits.max_sessions + 16
        limit = host.limits.max_message_bytes
        patience = max(int(host.limits.lease_seconds * 500), 1)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rlbridge-grpc"),
            maximum_concurrent_rpcs=threads,
            interceptors=(*((_Authentication(tokens),) if tokens else ()), Parsing(_abort)),
            options=[
                ("grpc.so_reuseport", 0),  # or a second server could share the port, in silence
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # A peer that vanished without a word is asked whether it lives, and gone within a lease.
                ("grpc.keepalive_time_ms", patience),
                ("grpc.keepalive_timeout_ms", patience),
                ("grpc.http2.ping_timeout_ms", patience),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
            ],
        )
        own_threads = works()
        service = _EnvService(host, own_threads)
        env_pb2_grpc.add_EnvServiceServicer_to_server(service, self._server)
        if own_threads:
            handler = grpc.stream_stream_rpc_method_handler(
                service.Exchange, Request.FromString, Response.SerializeToString
            )
            give_own_threads(self._server, _SERVICES[0], "Exchange", handler, lambda: host.alone)
        rollout_pb2_grpc.add_RolloutServiceServicer_to_server(_RolloutService(host), self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in ("", *_SERVICES[:1]):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    def bind_tcp(self, host: str, port: int, tls: ServerTls | None) -> int:
        """Listen on a TCP port, 0 for a free one; returns the port.

        Raises:
            PortTaken: somebody else listens there, or the address is not this machine's.
            AuthFileError: a TLS file is missing or no PEM.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                return int(self._server.add_insecure_port(address))
            cert, key, client_ca = tls.read()
            credentials = grpc.ssl_server_credentials(((key, cert),), client_ca, client_ca is not None)
            return int(self._server.add_secure_port(address, credentials))
        except RuntimeError as error:
            reason = _bind_problem(host, port)
            raise PortTaken(f"cannot listen on {address}: {reason}. Take another port; 0 is any free one.") from error

    def bind_unix(self, path: str) -> None:
        """Listen on a unix socket; a stale file of a dead server is replaced.

        Raises:
            PortTaken: a server answers there, or the folder is missing.
        """
        if os.path.exists(path) and answers(path):  # grpc would take the path from the living server
            raise PortTaken(f"cannot listen on {path}: another server answers there")
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise PortTaken(f"cannot listen on {path}: does its folder exist, and may you write there?") from error

    def start(self) -> None:
        """Answer calls from now on."""
        self._server.start()

    def stop(self, grace: float) -> None:
        """Refuse new calls, give those under way ``grace`` seconds, end."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait(grace + 5.0)


def _bind_problem(host: str, port: int) -> str:
    """Why binding failed, which grpc only writes to its log."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            return str(error.strerror or error).lower()
    return "grpc could not, and gave no reason"


class _Authentication(grpc.ServerInterceptor):  # type: ignore[misc]
    """Looks at the token of every call but the health service's, before anything of it is read."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        service, _, call = details.method.lstrip("/").partition("/")
        if service == health.SERVICE_NAME:
            return continuation(details)
        header = next((value for key, value in details.invocation_metadata if key == "authorization"), None)
        try:
            self._tokens.check(header, call)
        except BridgeError as error:
            return _refusal(continuation(details), error)
        return continuation(details)


def _refusal(handler: Any, error: BridgeError) -> Any:
    """A handler of the same shape as the one refused, that only says why."""
    if handler is None:
        return None

    def refuse(request: Any, context: Any) -> Any:
        _abort(context, error)

    if handler.response_streaming:
        shape = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return shape(lambda request, context: iter((refuse(request, context),)))
    shape = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
    return shape(refuse)


class _EnvService(env_pb2_grpc.EnvServiceServicer):
    """One method a call. Errors become a status and a trailer."""

    def __init__(self, host: Host, own_threads: bool) -> None:
        self._host, self._own_threads = host, own_threads

    def Describe(self, request: env_pb2.DescribeRequest, context: Any) -> env_pb2.DescribeResponse:
        return _answer(context, self._host.describe, request)

    def Spaces(self, request: env_pb2.SpacesRequest, context: Any) -> env_pb2.SpacesResponse:
        return _answer(context, self._host.spaces, request)

    def Open(self, request: env_pb2.OpenRequest, context: Any) -> env_pb2.OpenResponse:
        # "ipv4:10.0.0.7:51234": the port is another one for every connection
        caller = context.peer().rpartition(":")[0]
        return _answer(context, lambda request: self._host.open(request, caller), request)

    def Resume(self, request: env_pb2.ResumeRequest, context: Any) -> env_pb2.ResumeResponse:
        return _answer(context, self._host.resume, request)

    def KeepAlive(self, request: env_pb2.KeepAliveRequest, context: Any) -> env_pb2.KeepAliveResponse:
        return _answer(context, self._host.keep_alive, request)

    def Close(self, request: env_pb2.CloseRequest, context: Any) -> env_pb2.CloseResponse:
        return _answer(context, self._host.close, request)

    def Reset(self, request: env_pb2.ResetRequest, context: Any) -> env_pb2.ResetResponse:
        return _unwrap(context, self._host.execute(Request(reset=request))).reset

    def Step(self, request: env_pb2.StepRequest, context: Any) -> env_pb2.StepResponse:
        return _unwrap(context, self._host.execute(Request(step=request))).step

    def Render(self, request: env_pb2.RenderRequest, context: Any) -> env_pb2.RenderResponse:
        return _unwrap(context, self._host.execute(Request(render=request))).render

    def Exchange(self, request_iterator: Iterator[Request], context: Any) -> Iterator[Response]:
        exchange = self._host.exchange(context.cancel)

        def answer(request: Request | Malformed) -> Response:
            if isinstance(request, Malformed):
                _abort(context, request.error)
            return exchange.execute(request)

        try:
            parse = careful(Request.FromString)
            yield from answered(request_iterator, context, answer, parse, self._own_threads)
        finally:
            exchange.close()


class _RolloutService(rollout_pb2_grpc.RolloutServiceServicer):
    """Policies at the environment, one call at a time; streamed, rollouts go through Exchange."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def PutPolicy(
        self, request_iterator: Iterator[rollout_pb2.PutPolicyRequest], context: Any
    ) -> rollout_pb2.PutPolicyResponse:
        return _answer(context, self._host.put_policy, request_iterator)

    def Rollout(self, request: env_pb2.RolloutRequest, context: Any) -> env_pb2.RolloutResponse:
        return _unwrap(context, self._host.execute(Request(rollout=request))).rollout


class _Aborted(Exception):
    """The call has its status: nothing more can be said on it."""


def _answer(context: Any, call: Callable[[Req], Res], request: Req) -> Res:
    try:
        return call(request)
    except BridgeError as error:
        _abort(context, error)
    except _Aborted:
        raise
    except FAILURES as error:
        log.exception("a call failed inside the server")
        _abort(context, BridgeError(f"the server failed: {type(error).__name__}: {error}"))


def _unwrap(context: Any, response: Response) -> Response:
    if response.HasField("error"):
        _abort(context, decode_error(response.error))
    return response


def _abort(context: Any, error: BridgeError) -> NoReturn:
    """End a unary call with the error as status, and in a trailer, cut to what HTTP/2 peers take (8 KiB of headers)."""
    message = encode_error(error)
    message.message = _cut(message.message, 1_500)
    message.remote_traceback = _cut(message.remote_traceback[-2_000:], 2_000)
    for key in message.details:
        message.details[key] = _cut(message.details[key], 200)
    context.set_trailing_metadata(((ERROR_TRAILER, message.SerializeToString()),))
    try:
        context.abort(_STATUS.get(error.code, grpc.StatusCode.INTERNAL), _cut(message.message, 500))
    except Exception as ended:  # a plain one, which would pass for a failure of whoever asked for a request
        raise _Aborted from ended
    raise AssertionError("abort raises")


def _cut(text: str, most: int) -> str:
    """The beginning of a text, of at most so many bytes."""
    return text.encode()[:most].decode(errors="ignore")
