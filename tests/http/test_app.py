"""What is around the faces: health, metrics, docs, limits, TLS, strangers; and the client's end."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.client import Rollout
from rlbridge.server import Scope, ServerLimits, ServerTls, Tokens
from tests.conftest import ROOT
from tests.http.http_call import call
from tests.pki import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def test_health_needs_no_token_and_metrics_one_for_observing(serve):
    tokens = Tokens({"control-token-of-the-test": Scope.CONTROL, "observe-token-of-the-test": Scope.OBSERVE})
    url = serve("CartPole-v1", bind="http://127.0.0.1:0", tokens=tokens, metrics=True).urls[0]
    assert call(url, "GET", "/healthz").json == {"status": "serving"}
    assert call(url, "GET", "/metrics").status == 401
    assert call(url, "GET", "/v1/describe").status == 401
    observing = {"Authorization": "Bearer observe-token-of-the-test"}
    assert call(url, "GET", "/metrics", headers=observing).status == 200
    assert call(url, "GET", "/v1/describe", headers=observing).status == 200
    assert call(url, "POST", "/v1/sessions", {}, observing).json["error"]["reason"] == "PERMISSION_DENIED"


def test_metrics_count_both_transports(serve):
    urls = serve("tests.envs:Counter", bind=["http://127.0.0.1:0", "grpc://127.0.0.1:0"], metrics=True).urls

    def numbers() -> dict[str, float]:
        answer = call(urls[0], "GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.body.decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    assert numbers()["rlbridge_sessions"] == 0
    for url in urls:
        envs = rlbridge.make_vec(url, 3)
        envs.reset(seed=0)
        envs.step(np.array([0, 1, 2]))
        with pytest.raises(errors.InvalidAction):
            envs.step(np.array([0, 1, 7]))
        if url.startswith("http"):
            envs._session._link._stream._socket.shutdown(socket.SHUT_RDWR)
        envs.step(np.array([0, 1, 2]))
        envs.send_rollout(Rollout(5, "uniform"))
        assert len(envs.recv_rollout()) == 5
        assert numbers()["rlbridge_sessions"] == 1
        envs.close()
    counted = numbers()
    assert counted["rlbridge_sessions"] == 0
    assert counted["rlbridge_environment_steps_total"] == 12 + 2 * 5 * 3
    assert counted['rlbridge_environment_seconds_count{call="Rollout"}'] == 10
    assert counted['rlbridge_errors_total{reason="INVALID_ACTION"}'] == 2
    assert counted["rlbridge_resumes_total"] == 1
    assert counted['rlbridge_call_seconds_count{call="Step"}'] == 6
    assert counted['rlbridge_environment_seconds_count{call="Reset"}'] == 2


def test_metrics_are_off_unless_asked_for_and_need_http(serve):
    assert call(serve("CartPole-v1", bind="http://127.0.0.1:0").urls[0], "GET", "/metrics").status == 404
    with pytest.raises(errors.BindRefused, match="read over HTTP"):
        serve("CartPole-v1", metrics=True)


def test_the_api_is_described_for_machines_and_for_people(serve):
    url = serve("CartPole-v1", bind="http://127.0.0.1:0").urls[0]
    document = call(url, "GET", "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["responses"]
            names = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert names == set(re.findall(r"{(\w+)}", path))
            assert call(url, method.upper(), path.replace("{id}", "x"), headers={"X-Session-Token": "00"}).status != 405
    page = call(url, "GET", "/docs").body.decode()
    assert "POST /v1/sessions/{id}/step" in page
    assert not re.search(r"(src|href)\s*=\s*['\"]?(https?:)?//", page)
    assert "<script" not in page


def test_a_path_that_is_not_there_says_what_is(serve):
    url = serve("CartPole-v1", bind="http://127.0.0.1:0").urls[0]
    answer = call(url, "GET", "/v2/nothing")
    assert answer.status == 404
    assert "/docs explains" in answer.json["error"]["message"]
    assert call(url, "PUT", "/v1/sessions").status == 405


def test_a_page_of_another_site_may_not_use_a_server_without_tokens(serve):
    url = serve("CartPole-v1", bind="http://127.0.0.1:0").urls[0]
    address = url.removeprefix("http://")
    for origin, host, status in [
        ("https://elsewhere.example", address, 403),
        ("http://rebound.example", "rebound.example", 403),
        ("null", address, 403),
        (f"http://{address}", address, 201),
    ]:
        answer = call(url, "POST", "/v1/sessions", {}, {"Origin": origin, "Host": host})
        assert answer.status == status, origin


def test_a_websocket_that_says_nonsense_is_answered_or_closed(serve):
    from rlbridge.client.websocket import HandshakeRefused, WebSocket, WebSocketEnded
    from rlbridge.v1 import env_pb2

    url = serve("CartPole-v1", bind="http://127.0.0.1:0", limits=ServerLimits(max_message_bytes=10_000)).urls[0]
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    path = f"ws://127.0.0.1:{address[1]}/rlbridge.v1.EnvService/Exchange"

    def connected(headers=None) -> WebSocket:
        return WebSocket(socket.create_connection(address), path, headers or {}, 10_000, 10.0)

    websocket = connected()
    websocket.send(b"\xff\xff")
    answer = env_pb2.ExchangeResponse.FromString(websocket.receive(10))
    assert answer.error.reason == "INVALID_REQUEST"
    websocket.send(env_pb2.ExchangeRequest(step=env_pb2.StepRequest(seq=3)).SerializeToString())
    assert env_pb2.ExchangeResponse.FromString(websocket.receive(10)).error.reason == "EPOCH_CHANGED"
    websocket.send(bytes(10_001))
    with pytest.raises((WebSocketEnded, OSError)) as ended:
        websocket.receive(10)
    assert getattr(ended.value, "code", 1009) == 1009
    websocket.close()
    websocket.close()
    with pytest.raises(HandshakeRefused) as refused:
        connected({"Origin": "https://elsewhere.example"})
    assert refused.value.status == 403


def test_a_stream_that_names_no_session_is_closed(serve):
    from rlbridge.client.websocket import WebSocket, WebSocketEnded

    limits = ServerLimits(lease_seconds=0.4, silent_seconds=0.4)
    url = serve("CartPole-v1", bind="http://127.0.0.1:0", limits=limits).urls[0]
    port = int(url.rpartition(":")[2])
    path = f"ws://127.0.0.1:{port}/rlbridge.v1.EnvService/Exchange"
    websocket = WebSocket(socket.create_connection(("127.0.0.1", port)), path, {}, 1000, 10.0)
    with pytest.raises(WebSocketEnded, match="no session here"):
        websocket.receive(20)
    websocket.close()


def test_sixty_four_sessions_work_at_once_and_the_next_is_refused_with_the_numbers(serve):
    url = serve("CartPole-v1", bind="http://127.0.0.1:0", limits=ServerLimits(max_opens_per_second=1000)).urls[0]
    envs = [rlbridge.make(url) for _ in range(64)]
    totals = [0.0] * 64

    def run(i: int) -> None:
        envs[i].reset(seed=i)
        for step in range(20):
            _, reward, terminated, truncated, _ = envs[i].step(step % 2)
            totals[i] += reward
            if terminated or truncated:
                envs[i].reset()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert totals == [20.0] * 64
    with pytest.raises(errors.CapacityExhausted, match="64 of 64 sessions are open"):
        rlbridge.make(url)
    envs[0].close()
    rlbridge.make(url).close()
    for env in envs:
        env.close()


def test_one_stuck_environment_stalls_no_other(serve):
    from rlbridge.server.catalog import Offer
    from tests.envs import Counter, Gate

    Gate.entered.clear()
    Gate.let_go.clear()
    offers = [Offer("gate", Gate), Offer("counter", Counter)]
    url = serve(offers, bind="http://127.0.0.1:0").urls[0]
    stuck, free = rlbridge.make(f"{url}/gate"), rlbridge.make(f"{url}/counter")
    stuck.reset()
    free.reset()
    waiting = threading.Thread(target=stuck.step, args=(1,))
    waiting.start()
    assert Gate.entered.wait(30)
    for _ in range(5):
        free.step(1)
    assert waiting.is_alive()
    Gate.let_go.set()
    waiting.join(30)
    assert not waiting.is_alive()
    stuck.close()
    free.close()


def test_tls_encrypts_and_the_server_must_be_who_it_says(serve, authority, tmp_path):
    cert, key = authority.issue("server")
    url = serve("CartPole-v1", bind="https://127.0.0.1:0", tls=ServerTls(cert, key)).urls[0]
    assert url.startswith("https://")
    env = rlbridge.make(url, credentials={"tls_ca": authority.ca})
    env.reset(seed=0)
    env.step(0)
    env.close()
    for credentials in ({}, {"tls_ca": Authority(tmp_path / "other").ca}):
        with pytest.raises(errors.ProtocolMismatch, match=r"no TLS connection.*tls_ca"):
            rlbridge.make(url, timeout=5, credentials=credentials)
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url.replace("https", "http"), timeout=5, retry_for=0)


def test_mutual_tls_wants_the_clients_certificate_too(serve, authority):
    cert, key = authority.issue("server2")
    client_cert, client_key = authority.issue("client")
    url = serve("CartPole-v1", bind="https://127.0.0.1:0", tls=ServerTls(cert, key, authority.ca)).urls[0]
    own = {"tls_ca": authority.ca, "tls_cert": client_cert, "tls_key": client_key}
    env = rlbridge.make(url, credentials=own)
    env.reset()
    env.step(0)
    env.close()
    with pytest.raises((errors.Unavailable, errors.ProtocolMismatch)):
        rlbridge.make(url, timeout=5, retry_for=0, credentials={"tls_ca": authority.ca})


def test_beyond_loopback_only_with_both_tls_and_a_token(serve):
    with pytest.raises(errors.BindRefused, match="not with both encryption and a token"):
        serve("CartPole-v1", bind="http://0.0.0.0:0")


# --------------------------------------------------------------------------------------------- the client's end


def test_no_server_there_is_named_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]
        with pytest.raises(errors.Unavailable, match=f"nothing answers at http://127.0.0.1:{port}"):
            rlbridge.make(f"http://127.0.0.1:{port}")


def test_a_server_that_never_answers_is_noticed_within_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(errors.DeadlineExceeded, match="did not answer within 1 s"):
            rlbridge.make(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1.0)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", errors.ProtocolMismatch, "it is no rlbridge server"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", errors.ProtocolMismatch, "HTTP status 404"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", errors.Unauthenticated, "HTTP status 401"),
        (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", errors.Unavailable, "HTTP status 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", errors.ProtocolMismatch, "does not speak HTTP"),
    ],
)
def test_a_server_of_something_else_is_named(answer, error, words):
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()

        def reply() -> None:
            connection, _ = web.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(error, match=words):
            rlbridge.make(f"http://127.0.0.1:{web.getsockname()[1]}", timeout=5.0, retry_for=0)
        thread.join(10)


def test_a_grpc_server_is_no_http_server(serve):
    url = serve("CartPole-v1").urls[0]
    with pytest.raises(errors.BridgeError) as raised:
        rlbridge.make(url.replace("grpc", "http"), timeout=5.0, retry_for=0)
    assert isinstance(raised.value, (errors.ProtocolMismatch, errors.Unavailable))


def test_bad_actions_are_the_same_errors_and_the_stream_goes_on(serve):
    env = rlbridge.make(serve("tests.envs:Counter", bind="http://127.0.0.1:0").urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.InvalidAction, match=r"action: 7 is outside \[0, 2\]; nothing was stepped"):
        env.step(7)
    assert env.step(1)[4]["total"] == 1
    env.close()


def test_a_lost_connection_is_made_again_and_nothing_is_stepped_twice(serve):
    env = rlbridge.make(serve("tests.envs:Counter", bind="http://127.0.0.1:0").urls[0])
    env.reset(seed=0)
    for total in range(1, 4):
        env._session._link._stream._socket.shutdown(socket.SHUT_RDWR)
        assert env.step(1)[4]["total"] == total
    env.close()


def test_a_server_that_stops_says_so_to_its_clients(serve):
    server = serve("CartPole-v1", bind="http://127.0.0.1:0")
    env = rlbridge.make(server.urls[0], retry_for=0.5)
    env.reset(seed=0)
    server.stop()
    with pytest.raises((errors.Unavailable, errors.EnvLost)):
        env.step(0)
    env.close()


def test_the_ports_are_free_again_and_a_taken_one_is_named(serve):
    server = serve("CartPole-v1", bind="http://127.0.0.1:0")
    with pytest.raises(errors.PortTaken, match="address already in use"):
        serve("CartPole-v1", bind=server.urls[0])
    server.stop()
    serve("CartPole-v1", bind=server.urls[0])


def test_without_the_extra_the_command_is_named():
    code = (
        "import sys\n"
        "for name in ('websockets', 'uvicorn', 'starlette', 'prometheus_client'): sys.modules[name] = None\n"
        "import rlbridge, json\n"
        "said = []\n"
        "for what in (lambda: rlbridge.make('http://127.0.0.1:9'),\n"
        "             lambda: rlbridge.serve('CartPole-v1', bind='http://127.0.0.1:0'),\n"
        "             lambda: rlbridge.serve('CartPole-v1', bind='http://127.0.0.1:0', metrics=True)):\n"
        "    try: what()\n"
        "    except ModuleNotFoundError as error: said.append(str(error))\n"
        "with rlbridge.serve('CartPole-v1', bind='grpc://127.0.0.1:0') as server:\n"
        "    rlbridge.make(server.urls[0]).close()\n"
        "print(json.dumps(said))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    said = json.loads(done.stdout)
    assert len(said) == 3, done.stderr
    assert all("pip install 'rlbridge-toolkit[http]'" in sentence for sentence in said)
