"""The WebSocket face: Exchange, as binary frames. One frame is one ExchangeRequest, answered by one ExchangeResponse.

The hot path of rlbridge's own client. The step runs in the thread of its connection, see http_server.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools

from google.protobuf.message import DecodeError
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from rlbridge.server.auth import Tokens
from rlbridge.server.exchange import Exchange
from rlbridge.server.host import Host
from rlbridge.server.http_connect import connect_error
from rlbridge.server.http_errors import http_status
from rlbridge.server.session import Request, error_response
from rlbridge.wire.errors import BridgeError, WireError

# An extension of ASGI's: takes a function that gives a binary message's answer, to be called where messages arrive.
ANSWER_AT_ONCE = "rlbridge.answer_at_once"
CLOSE_UNSUPPORTED = 1003  # RFC 6455, section 7.4.1
CLOSE_GOING_AWAY = 1001


class WebSocketFace:
    """``GET /rlbridge.v1.EnvService/Exchange`` with an upgrade to WebSocket, an ASGI application."""

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._host = host
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Exchange messages until the client goes, or the host sees that nobody needs this stream any more."""
        await receive()
        try:
            self._tokens.check(Headers(scope=scope).get("authorization"), "Exchange")
        except BridgeError as error:
            await deny(error, send)
            return
        await send({"type": "websocket.accept"})
        loop = asyncio.get_running_loop()
        exchange = self._host.exchange(lambda: _from_outside(loop, send))
        with contextlib.suppress(KeyError):
            scope["extensions"][ANSWER_AT_ONCE](functools.partial(_answer, exchange))
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                data = message.get("bytes")
                if data is None:
                    reason = "binary frames only, each an ExchangeRequest"
                    await send({"type": "websocket.close", "code": CLOSE_UNSUPPORTED, "reason": reason})
                    return
                await send({"type": "websocket.send", "bytes": _answer(exchange, data)})
        except OSError:  # uvicorn's ClientDisconnected: gone before its answer, which is kept
            pass
        finally:
            exchange.close()


def _from_outside(loop: asyncio.AbstractEventLoop, send: Send) -> None:
    """Close the stream, from a thread that is not its own."""

    async def close() -> None:
        with contextlib.suppress(Exception):  # it may be closing already
            await send({"type": "websocket.close", "code": CLOSE_GOING_AWAY, "reason": "no session here"})

    with contextlib.suppress(RuntimeError):  # its loop has ended meanwhile
        loop.call_soon_threadsafe(lambda: asyncio.ensure_future(close(), loop=loop))


def _answer(exchange: Exchange, data: bytes) -> bytes:
    try:
        request = Request.FromString(data)
    except DecodeError as error:
        return error_response(WireError(f"a frame is no ExchangeRequest ({error})"), 0).SerializeToString()
    return exchange.execute(request).SerializeToString()


async def deny(error: BridgeError, send: Send) -> None:
    """Refuse the upgrade with a plain HTTP answer that says why."""
    body = connect_error(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "websocket.http.response.start", "status": http_status(error.code), "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
