"""The HTTP application: its faces, each with its paths, on one host. It knows nothing of environments.

An ASGI application that expects an event loop of its own for every connection, as ``http_server`` gives it: requests
are executed where they arrive.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from rlbridge.server import openapi
from rlbridge.server.auth import Tokens
from rlbridge.server.host import Host
from rlbridge.server.http_connect import ConnectFace
from rlbridge.server.http_json import JsonFace, refusal
from rlbridge.server.http_websocket import WebSocketFace, deny
from rlbridge.wire.errors import BridgeError, PermissionDenied, Unimplemented

SERVICE = "/rlbridge.v1.EnvService"
_ANY = ["GET", "POST", "PUT", "DELETE", "PATCH"]
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpApp:
    """All that is served over HTTP.

    Args:
        host: the sessions; ``/metrics`` is there if it is one that counts (``metrics.MeasuredHost``).
        tokens: who may call. ``/healthz``, ``/docs`` and ``/openapi.json`` need none.
    """

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._host, self._tokens = host, tokens
        routes: list[Any] = [
            WebSocketRoute(f"{SERVICE}/Exchange", WebSocketFace(host, tokens)),
            Route(f"{SERVICE}/{{method}}", ConnectFace(host, tokens).answer, methods=_ANY),
            *JsonFace(host, tokens).routes(),
            Route("/openapi.json", _document),
            Route("/docs", _page),
            Route("/healthz", _healthy),
        ]
        if hasattr(host, "metrics"):
            routes.append(Route("/metrics", self._metrics))
        self._app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_path})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if not self._tokens and _is_foreign_page(Headers(scope=scope)):
            stranger = PermissionDenied("a web page of another site may not use this server; tokens would allow it")
            if scope["type"] == "websocket":
                await receive()
                await deny(stranger, send)
            else:
                await refusal(stranger)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _metrics(self, request: Request) -> Response:
        try:
            self._tokens.check(request.headers.get("authorization"), "Metrics")
        except BridgeError as error:
            return refusal(error)
        return Response(self._host.metrics.text(), headers={"Content-Type": _METRICS_TYPE})  # type: ignore[attr-defined]


def _is_foreign_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this on behalf of a page from elsewhere.

    A page can reach a server on loopback that nobody else can. Browsers name the page's origin; one that resolved its
    own name to this address ("DNS rebinding") would name this host, but not by a number.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    parts = urlsplit(origin)
    if parts.netloc != headers.get("host", ""):
        return True
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return parts.hostname != "localhost"
    return False


async def _healthy(request: Request) -> Response:
    """For load balancers; needs no token."""
    return JSONResponse({"status": "serving"})


async def _document(request: Request) -> Response:
    return JSONResponse(openapi.document())


async def _page(request: Request) -> Response:
    return HTMLResponse(
        openapi.page(), headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    )


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    there = "there are /v1/..., /rlbridge.v1.EnvService/..., /healthz; /docs explains"
    what = Unimplemented(f"{request.method} {request.url.path[:100]}: {error.detail}; {there}")
    return refusal(what, error.status_code, dict(error.headers or {}))
