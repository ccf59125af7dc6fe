"""Who may open the studio: on loopback who is on this machine, from elsewhere who shows a token, over TLS.

A browser is also other people's program: any page it has open may send requests to this machine. So a request must
name this server as its host (else a foreign name could be made to lead here, DNS rebinding), and what changes
something, or opens a WebSocket, must come from one of its own pages.
"""

from __future__ import annotations

import html
import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlbridge.server.auth import Tokens
from rlbridge.wire.errors import BridgeError

_COOKIE = "rlbridge_token"
_LOGIN_BYTES = 4_096
_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    # The library builds its pages with inline scripts; nothing may come from, or go to, anywhere else.
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
    ),
)


class BindRefused(ValueError):
    """The address is malformed, or open to the network without protection."""


class Guard:
    """ASGI middleware that lets nobody else through.

    Args:
        app: what is guarded.
        hosts: names under which this server may be asked for, beside addresses of loopback; None: under any, which
            is for who has to show a token (a cookie is bound to the name it was given under).
        tokens: callers must show one with the scope ``control``; without any, everybody is let through.
        secure: the pages come over TLS.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, tokens: Tokens, secure: bool) -> None:
        self.app, self._hosts = app, None if hosts is None else {host.lower() for host in hosts}
        self._tokens, self._secure = tokens, secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            return await _answer(scope, receive, send, 403, refusal)
        if self._tokens and not self._admitted(_cookie(headers)):
            if scope["type"] == "http" and scope["path"] == "/login" and scope["method"] == "POST":
                return await self._log_in(scope, receive, send)
            return await _answer(scope, receive, send, 401, _login_page(""), "text/html")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        return await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> str | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if self._hosts is not None and name not in self._hosts and not is_loopback(name):
            return f"this studio is not called {host[:100]!r}; open it by the address that it printed"
        # Also what opens a WebSocket's substitute, which is asked for by GET.
        socket = scope["type"] == "websocket" or scope["path"].startswith("/_nicegui_ws")
        changes = socket or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        origin = headers.get("origin")
        if changes and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return f"a page of {origin[:100]} asked; only the studio's own pages may"
        return None

    def _admitted(self, token: str | None) -> bool:
        try:
            self._tokens.check(None if token is None else f"Bearer {token}", "Step")
        except BridgeError:
            return False
        return True

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more and len(body) <= _LOGIN_BYTES:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        token = (parse_qs(body.decode("utf-8", "replace")).get("token") or [""])[0].strip()
        if not token.isascii() or any(c in token for c in ';, "\\') or not self._admitted(token):
            page = _login_page("That is not the token. / 令牌不正确。")
            return await _answer(scope, receive, send, 401, page, "text/html")
        cookie = f"{_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if self._secure else ''}"
        return await _answer(
            scope, receive, send, 303, "", more=((b"location", b"/"), (b"set-cookie", cookie.encode()))
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine's own programs reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse_bind(bind: str, tokens: Tokens, tls: bool) -> tuple[str, int, bool]:
    """Host, port and whether it is TLS, of ``http://HOST:PORT`` or ``https://HOST:PORT`` (port 0: a free one).

    Raises:
        BindRefused: it is neither, or other machines could reach it without TLS and a token.
    """
    try:
        parts = urlsplit(bind)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BindRefused(f"--bind {bind!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port is None or parts.path.strip("/"):
        raise BindRefused(f"--bind {bind!r}: expected http://HOST:PORT or https://HOST:PORT (0 for a free port)")
    secure = parts.scheme == "https"
    if secure != tls:
        raise BindRefused(f"--bind {bind!r}: https:// and --tls-cert with --tls-key belong together")
    if not is_loopback(host) and not (secure and tokens):
        raise BindRefused(
            f"--bind {bind!r} can be reached from other machines, which needs both: https:// with --tls-cert and "
            "--tls-key, and --token-file. Or bind to 127.0.0.1 and tunnel (ssh -L)."
        )
    return host, port, secure


def _cookie(headers: dict[str, str]) -> str | None:
    """The token's cookie. Others of the same host may be of any form."""
    for cookie in headers.get("cookie", "").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == _COOKIE:
            return value
    return None


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, text: str, kind: str = "text/plain", more: Any = ()
) -> None:
    if scope["type"] == "websocket":
        await receive()  # its connect
        return await send({"type": "websocket.close", "code": 1008})
    headers = [(b"content-type", f"{kind}; charset=utf-8".encode()), *_HEADERS, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    return await send({"type": "http.response.body", "body": text.encode()})


def _login_page(problem: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>rlbridge studio</title>"
        "<body style='font:16px sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem'>"
        "<h1 style='font-size:1.4rem'>rlbridge studio</h1><form method=post action=/login>"
        "<label for=token>Token / 令牌</label><br><input id=token name=token type=password autofocus required "
        "style='width:100%;padding:.5rem;margin:.5rem 0'><br><button style='padding:.5rem 1rem'>Open / 打开</button>"
        f"<p role=alert style='color:#b00020'>{html.escape(problem)}</p></form>"
    )
