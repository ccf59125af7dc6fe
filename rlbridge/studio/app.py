"""Puts the pages behind one address and serves them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from rlbridge.server.auth import Tokens
from rlbridge.studio import models_page, new_page, run_page, runs_page, servers_page
from rlbridge.studio.access import BindRefused, Guard, parse_bind
from rlbridge.studio.files import add_files
from rlbridge.studio.words import COOKIE, LANGUAGES
from rlbridge.studio.workshop import Workshop


@dataclass(frozen=True)
class Tls:
    """PEM files of a certificate chain and its key."""

    certificate: str
    key: str


def add_pages(workshop: Workshop) -> None:
    """Every page, for that workshop."""
    for page in (runs_page, new_page, run_page, models_page, servers_page):
        page.add_to(workshop)


def make_app(workshop: Workshop) -> FastAPI:
    """The application, without a guard."""
    app = FastAPI(title="rlbridge studio", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/language/{code}")
    def language(code: str, back: str = "/") -> Response:
        # Only to a path of our own: "//elsewhere" would be another host.
        answer = RedirectResponse(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/", 303)
        if code in LANGUAGES:
            answer.set_cookie(COOKIE, code, max_age=31_536_000, samesite="strict")
        return answer

    add_files(app, workshop)
    add_pages(workshop)
    ui.run_with(app, title="rlbridge studio", show_welcome_message=False, reconnect_timeout=10.0, tailwind=False)
    return app


def serve_studio(
    workshop: Workshop,
    bind: str = "http://127.0.0.1:8080",
    *,
    tokens: Tokens | None = None,
    tls: Tls | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the pages until SIGINT or SIGTERM. Runs and servers that were started from them go on.

    Args:
        workshop: what the pages work on.
        bind: ``http://HOST:PORT`` or ``https://HOST:PORT``; port 0 is a free one.
        tokens: who may open the pages; needed, as is ``tls``, where other machines can reach them.
        tls: certificate and key, for https.
        on_ready: called with the address once it answers.

    Raises:
        BindRefused: the address cannot be listened on, or would be open to other machines without protection.
    """
    tokens = tokens or Tokens()
    host, port, secure = parse_bind(bind, tokens, tls is not None)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BindRefused(
            f"cannot listen on {bind}: {error.strerror or error}. Take another port; 0 is any."
        ) from error
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    config = uvicorn.Config(
        Guard(make_app(workshop), None if tokens else {host}, tokens, secure),
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        if server.started:
            on_ready(f"{'https' if secure else 'http'}://{shown}:{listener.getsockname()[1]}")
        await serving

    asyncio.run(serve())
