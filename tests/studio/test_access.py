"""Who may open the studio."""

import asyncio

import httpx
import pytest

from rlbridge.server.auth import Scope, Tokens
from rlbridge.studio.access import BindRefused, Guard, parse_bind

TOKEN = "t" * 24


async def page(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.accept"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    return await send({"type": "http.response.body", "body": b"inside"})


def ask(guard, path="/", method="GET", base="http://127.0.0.1:8080", **options):
    async def asked():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=base) as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


def open_websocket(guard, headers):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guard({"type": "websocket", "path": "/", "headers": raw}, receive, send))
    return sent[0]


def test_on_loopback_the_pages_are_open():
    guard = Guard(page, [], Tokens(), False)
    for base in ("http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"):
        assert ask(guard, base=base).text == "inside"


def test_another_name_that_leads_here_is_refused():
    answer = ask(Guard(page, ["10.0.0.5"], Tokens(), False), base="http://evil.example")
    assert answer.status_code == 403
    assert "evil.example" in answer.text
    assert ask(Guard(page, ["10.0.0.5"], Tokens(), False), base="http://10.0.0.5:8080").text == "inside"


def test_a_foreign_page_may_change_nothing_and_open_no_websocket():
    guard, host = Guard(page, [], Tokens(), False), "127.0.0.1:8080"
    assert ask(guard, method="POST", headers={"origin": "http://evil.example"}).status_code == 403
    assert ask(guard, method="POST", headers={"origin": f"http://{host}"}).text == "inside"
    assert open_websocket(guard, {"host": host, "origin": "http://evil.example"}) == "websocket.close"
    assert open_websocket(guard, {"host": host, "origin": "http://127.0.0.1:9"}) == "websocket.close"
    assert open_websocket(guard, {"host": host, "origin": f"http://{host}"}) == "websocket.accept"


def test_a_foreign_page_may_not_open_what_stands_in_for_a_websocket():
    guard, path = Guard(page, [], Tokens(), False), "/_nicegui_ws/socket.io/?transport=polling"
    assert ask(guard, path, headers={"origin": "http://evil.example"}).status_code == 403
    assert ask(guard, path, headers={"origin": "http://127.0.0.1:8080"}).text == "inside"


def test_a_host_that_is_none_is_refused():
    assert ask(Guard(page, [], Tokens(), False), headers={"host": "[::1"}).status_code == 403


@pytest.mark.parametrize("other", ['other={"a":"b c"}', "a,b=1", "x=y z", "=", ""])
def test_other_cookies_of_the_host_do_not_lock_out(other):
    guard = Guard(page, [], Tokens({TOKEN: Scope.CONTROL}), True)
    headers = {"cookie": f"{other}; rlbridge_token={TOKEN}; more=1"}
    assert ask(guard, base="https://127.0.0.1:8080", headers=headers).text == "inside"


def test_every_page_says_that_nothing_may_come_from_elsewhere():
    headers = ask(Guard(page, [], Tokens(), False)).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


def test_with_a_token_nobody_comes_in_without_it():
    guard = Guard(page, [], Tokens({TOKEN: Scope.CONTROL}), True)
    base = "https://127.0.0.1:8080"
    for path in ("/", "/files/a/policy.onnx", "/_nicegui_ws/socket.io/"):
        refused = ask(guard, path, base=base)
        assert refused.status_code == 401
        assert "inside" not in refused.text
    host = "127.0.0.1:8080"
    assert open_websocket(guard, {"host": host, "origin": base}) == "websocket.close"
    assert ask(guard, "/login", "POST", base, data={"token": "wrong" * 5}).status_code == 401
    login = ask(guard, "/login", "POST", base, data={"token": TOKEN})
    assert login.status_code == 303
    cookie = login.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Secure" in cookie
    assert "SameSite=Strict" in cookie
    shown = {"cookie": cookie.partition(";")[0]}
    assert ask(guard, base=base, headers=shown).text == "inside"
    assert open_websocket(guard, {"host": host, "origin": base, **shown}) == "websocket.accept"


def test_a_token_for_observing_is_not_enough():
    guard = Guard(page, [], Tokens({TOKEN: Scope.OBSERVE}), True)
    assert ask(guard, "/login", "POST", "https://127.0.0.1:8080", data={"token": TOKEN}).status_code == 401


@pytest.mark.parametrize(
    ("bind", "token", "tls"),
    [
        ("http://0.0.0.0:8080", True, False),
        ("https://0.0.0.0:8443", False, True),
        ("http://192.168.1.5:80", False, False),
        ("https://127.0.0.1:8443", False, False),
        ("http://127.0.0.1:8080", False, True),
        ("ftp://127.0.0.1:21", False, False),
        ("http://127.0.0.1", False, False),
        ("http://127.0.0.1:port", False, False),
    ],
)
def test_an_address_open_to_others_needs_a_token_and_tls(bind, token, tls):
    with pytest.raises(BindRefused, match="--bind"):
        parse_bind(bind, Tokens({TOKEN: Scope.CONTROL} if token else {}), tls)


def test_addresses_that_are_allowed():
    assert parse_bind("http://127.0.0.1:0", Tokens(), False) == ("127.0.0.1", 0, False)
    assert parse_bind("http://localhost:8080", Tokens(), False) == ("localhost", 8080, False)
    assert parse_bind("https://0.0.0.0:8443", Tokens({TOKEN: Scope.CONTROL}), True) == ("0.0.0.0", 8443, True)
