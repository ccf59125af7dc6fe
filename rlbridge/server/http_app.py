"""The HTTP application: its faces, each with its paths, on one host. It knows nothing of environments.

An ASGI application that expects an event loop of its own for every connection, as ``http_server`` gives it: requests
are executed where they arrive.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from rlbridge.server.auth import Tokens
from rlbridge.server.host import Host
from rlbridge.server.http_connect import ConnectFace
from rlbridge.server.http_websocket import WebSocketFace

SERVICE = "/rlbridge.v1.EnvService"
_ANY = ["GET", "POST", "PUT", "DELETE", "PATCH"]


class HttpApp:
    """All that is served over HTTP."""

    def __init__(self, host: Host, tokens: Tokens) -> None:
        self._app = Starlette(
            routes=[
                WebSocketRoute(f"{SERVICE}/Exchange", WebSocketFace(host, tokens)),
                Route(f"{SERVICE}/{{method}}", ConnectFace(host, tokens).answer, methods=_ANY),
                Route("/healthz", _healthy),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        await self._app(scope, receive, send)


async def _healthy(request: Request) -> Response:
    """For load balancers; needs no token."""
    return JSONResponse({"status": "serving"})
