"""The Connect face: every call of EnvService but Exchange as a POST, in binary or in protobuf's JSON.

Source: https://connectrpc.com/docs/protocol, "Unary-RPCs". Any Connect client speaks it, with code generated from
protos/rlbridge/v1; rlbridge's own client uses it for what is not the hot path.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from rlbridge.server.auth import Tokens
from rlbridge.server.failure import FAILURES
from rlbridge.server.host import Host
from rlbridge.server.http_body import read_body
from rlbridge.server.http_errors import HttpError, code_word, http_status
from rlbridge.server.session import Request, Response
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import (
    BridgeError,
    DeadlineExceeded,
    ProtocolMismatch,
    Unimplemented,
    WireError,
    decode_error,
    encode_error,
)

log = logging.getLogger("rlbridge.server")

ERROR_TYPE = "rlbridge.v1.Error"
_TYPES = ("application/proto", "application/json")
_WORTH_PACKING = 1024  # bytes
_MAX_JSON_DEPTH = 100  # protobuf's own limit for binary messages


class ConnectFace:
    """``POST /rlbridge.v1.EnvService/{method}``."""

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._limit = host.limits.max_message_bytes
        self._tokens = tokens
        self._open = host.open
        # Only calls that come with a deadline need a thread of their own: somebody must watch the clock meanwhile.
        self._timed = ThreadPoolExecutor(2 * host.limits.max_sessions + 16, thread_name_prefix="rlbridge-timed")
        self._calls: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
            "Describe": (env_pb2.DescribeRequest, host.describe),
            "Spaces": (env_pb2.SpacesRequest, host.spaces),
            "Open": (env_pb2.OpenRequest, host.open),
            "Resume": (env_pb2.ResumeRequest, host.resume),
            "KeepAlive": (env_pb2.KeepAliveRequest, host.keep_alive),
            "Close": (env_pb2.CloseRequest, host.close),
            "Reset": (env_pb2.ResetRequest, lambda body: _unwrapped(host.execute(Request(reset=body))).reset),
            "Step": (env_pb2.StepRequest, lambda body: _unwrapped(host.execute(Request(step=body))).step),
            "Render": (env_pb2.RenderRequest, lambda body: _unwrapped(host.execute(Request(render=body))).render),
        }

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one call; errors too, as Connect writes them."""
        try:
            return await self._answer(request)
        except HttpError as error:
            return _refusal(error.error, error.status, error.headers)
        except BridgeError as error:
            return _refusal(error, http_status(error.code), {})
        except FAILURES as error:
            log.exception("a call failed inside the server")
            failure = BridgeError(f"the server failed: {type(error).__name__}: {error}")
            return _refusal(failure, http_status(failure.code), {})

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        method = request.path_params["method"]
        self._tokens.check(request.headers.get("authorization"), method)  # before anything of it is read
        if method not in self._calls:
            more = "; Exchange is a WebSocket at this address" if method == "Exchange" else ""
            calls = ", ".join(self._calls)
            raise HttpError(404, Unimplemented(f"no call {method[:40]!r} here{more}. There are: {calls}"))
        if request.method != "POST":
            raise HttpError(405, Unimplemented(f"{request.method} {request.url.path}: use POST"), {"Allow": "POST"})
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in _TYPES:
            what = WireError(f"content type {kind[:80]!r}; this call takes {' or '.join(_TYPES)}")
            raise HttpError(415, what, {"Accept-Post": ", ".join(_TYPES)})
        version = request.headers.get("connect-protocol-version", "1")
        if version != "1":
            raise ProtocolMismatch(f"Connect protocol version {version[:20]!r}; this server speaks 1")
        timeout = _timeout(request.headers.get("connect-timeout-ms"))
        message_type, call = self._calls[method]
        if method == "Open":
            call = functools.partial(self._open, caller=caller_of(request))
        message = _parsed(message_type, await read_body(request.receive, request.headers, self._limit), kind)
        answer = call(message) if timeout is None else await self._in_time(call, message, timeout)
        return _written(answer, kind, request.headers.get("accept-encoding", ""))

    async def _in_time(self, call: Callable[[Any], Any], message: Any, timeout: float) -> Any:
        """The answer, or DEADLINE after ``timeout`` seconds; what has begun is not broken off, and its outcome kept."""
        running = asyncio.get_running_loop().run_in_executor(self._timed, call, message)
        done, _ = await asyncio.wait([running], timeout=timeout)
        if not done:
            running.add_done_callback(lambda late: late.cancelled() or late.exception())  # or asyncio logs it
            raise DeadlineExceeded(
                f"no answer within the {timeout * 1000:g} ms of Connect-Timeout-Ms. The request may still be "
                "executing; repeat it under its own number for its outcome.",
                limit=timeout,
            )
        return running.result()


def caller_of(request: HttpRequest) -> str:
    """Who calls, by address, in gRPC's words: the limits for one caller hold over all transports together."""
    host = request.client.host if request.client else ""
    return f"ipv6:%5B{host}%5D" if ":" in host else f"ipv4:{host}"


def _timeout(header: str | None) -> float | None:
    """Seconds from Connect-Timeout-Ms: a whole number of at most ten digits."""
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) <= 10):
        raise WireError(f"Connect-Timeout-Ms {header[:40]!r} is no whole number of at most ten digits")
    return int(header) / 1000


def _parsed(message_type: type[Any], body: bytes, kind: str) -> Any:
    try:
        if kind == "application/proto":
            return message_type.FromString(body)
        # Unknown fields are a newer client's; the specification wants them ignored.
        return json_format.Parse(
            body or b"{}", message_type(), ignore_unknown_fields=True, max_recursion_depth=_MAX_JSON_DEPTH
        )
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"the body is no {message_type.DESCRIPTOR.name}: {str(error)[:300]}") from None


def _unwrapped(response: Response) -> Response:
    if response.HasField("error"):
        raise decode_error(response.error)
    return response


def _written(answer: Any, kind: str, accepted: str) -> HttpResponse:
    if kind == "application/proto":
        body = answer.SerializeToString()
    else:
        body = json_format.MessageToJson(answer, indent=None).encode()
    headers = {}
    if "gzip" in accepted.lower() and len(body) >= _WORTH_PACKING:
        body, headers = gzip.compress(body, 1), {"Content-Encoding": "gzip"}
    return HttpResponse(body, media_type=kind, headers=headers)


def _refusal(error: BridgeError, status: int, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(connect_error(error), status, headers, media_type="application/json")


def connect_error(error: BridgeError) -> bytes:
    """An error as the Connect protocol writes it; the whole ``Error`` message goes along as a detail."""
    message = encode_error(error)
    detail = base64.b64encode(message.SerializeToString()).decode().rstrip("=")
    words = {"code": code_word(error.code), "message": message.message}
    return json.dumps({**words, "details": [{"type": ERROR_TYPE, "value": detail}]}).encode()
