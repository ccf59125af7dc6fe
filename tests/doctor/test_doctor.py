"""Every cause made for real on loopback, and named."""

from __future__ import annotations

import http.server
import json
import queue
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent import futures
from contextlib import closing

import grpc
import pytest
from typer.testing import CliRunner

import rlbridge
from rlbridge.cli import app
from rlbridge.client.connect import open_link
from rlbridge.client.target import parse_target
from rlbridge.doctor import diagnose
from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.encryption import examine_protocol
from rlbridge.doctor.finding import Problem
from rlbridge.doctor.greeting import greet
from rlbridge.doctor.place import read_target
from rlbridge.doctor.proxy import examine_proxy
from rlbridge.server import Scope, ServerLimits, ServerTls, Tokens
from rlbridge.v1 import env_pb2, env_pb2_grpc
from rlbridge.wire.errors import BridgeError
from tests.conftest import ROOT
from tests.envs import Counter, Gate
from tests.pki import Authority, _openssl

CONTROL, OBSERVE = "control-token-of-the-test", "observe-token-of-the-test"
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


class Slow(Counter):
    """Takes its time in step."""

    def step(self, action):
        threading.Event().wait(0.05)
        return super().step(action)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No proxies, tokens and TLS files of whoever runs the tests."""
    for name in (*PROXIES, *(f"RLBRIDGE_{name}" for name in ("TOKEN", "TOKEN_FILE", "TLS_CA", "TLS_CERT", "TLS_KEY"))):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def certificate(authority) -> tuple[str, str]:
    return authority.issue("server")


@pytest.fixture
def listener():
    """A socket on a free port that listens, and does what the test makes of it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening


def url(listening: socket.socket, scheme: str = "grpc", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{listening.getsockname()[1]}"


def problem(findings, name: str, words: str, advice: str = ""):
    """The last finding is the problem ``name``, and says so in these words; all before it are no problems."""
    *before, last = findings
    assert (last.name, last.status) == (name, "problem"), last
    assert words in last.found, last
    assert advice in last.advice, last
    assert last.advice.endswith(".")
    assert all(finding.status != "problem" for finding in before)
    return last


# -------------------------------------------------------------------------------------------- name and connection


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("CartPole-v1", "not a server: 'CartPole-v1' has no scheme"),
        ("ftp://x", "not a target: target 'ftp://x'"),
        ("grpc://127.0.0.1", "expected grpc://HOST:PORT"),
    ],
)
def test_a_string_that_is_no_target(target, words):
    problem(diagnose(target), "target", words, "grpc://")


def test_a_refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = url(listening)
    last = problem(
        diagnose(target), "connection", "connection refused: 127.0.0.1 is there, and nothing listens on port"
    )
    assert target.rpartition(":")[2] in last.found
    assert "Start the server" in last.advice


def test_a_name_that_does_not_resolve():
    problem(diagnose("grpc://plant.invalid:50051"), "name", "name not resolved: 'plant.invalid'", "spelling")


def test_a_unix_socket_that_is_missing_stale_or_a_file(tmp_path):
    path = tmp_path / "e.sock"
    problem(diagnose(f"unix://{path}"), "connection", f"no such socket: there is no file {path}", "--bind unix://")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    problem(diagnose(f"unix://{path}"), "connection", f"connection refused: the socket {path} is there, and no server")
    (tmp_path / "file").write_text("")
    problem(diagnose(f"unix://{tmp_path}/file"), "connection", f"not a socket: {tmp_path}/file")


def test_a_connection_that_times_out():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, socket.socket() as first:
        first.connect(listening.getsockname())  # fills the queue: who comes after gets no answer at all
        with socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(listening.getsockname())
            findings = diagnose(url(listening), timeout=1.0)
    problem(findings, "connection", "connection timed out: nothing comes back from 127.0.0.1 port", "firewall")


@pytest.mark.parametrize("scheme", ["grpc", "grpcs"])
def test_a_black_hole(listener, scheme):
    started = time.monotonic()
    findings = diagnose(url(listener, scheme), timeout=1.0)
    assert time.monotonic() - started < 10
    problem(findings, "protocol", "nothing answers: 127.0.0.1:", "The server hangs, or a proxy or firewall")


# -------------------------------------------------------------------------------------------- what speaks there


@pytest.fixture
def web():
    """A plain HTTP/1.1 server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def fake():
    """Start gRPC servers with servicers of the test's own."""
    servers = []

    def start(servicer=None) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(4))
        servers.append(server)
        if servicer is not None:
            env_pb2_grpc.add_EnvServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return f"grpc://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait(10)


def test_a_web_server_on_the_port(web):
    target = url(web.socket)
    problem(
        diagnose(target), "protocol", "not gRPC: an HTTP/1.1 server answers", f"use {target.replace('grpc', 'http')}"
    )
    problem(
        diagnose(target.replace("grpc", "grpcs")),
        "encryption",
        "TLS mismatch: the server does not speak TLS (HTTP/1 answers",
    )


def test_a_grpc_server_where_http_is_wanted(fake):
    target = fake()
    place, _ = read_target(target)
    answer = greet(socket.create_connection((place.host, place.port), 5), place.host, False, 5.0)
    http_place = type(place)(place.target, "http", place.host, place.port, "")
    with pytest.raises(Problem) as raised:
        examine_protocol(http_place, answer)
    problem([raised.value.finding], "protocol", "not HTTP/1.1: a gRPC server answers", f"use {target}")


def test_something_else_on_the_port(listener):
    def speak():
        for _ in range(10):
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                    connection.recv(100)
            except OSError:  # the doctor has hung up; or the test is over
                continue

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    findings = diagnose(url(listener), timeout=5.0)
    problem(findings, "protocol", "not gRPC: something else answers", "Check the port")
    assert "SSH-2.0-OpenSSH_9.6" in findings[-1].found


def test_a_foreign_grpc_server(fake):
    problem(diagnose(fake()), "server", "not an rlbridge server: a gRPC server answers", "Check the port")


@pytest.mark.parametrize(("versions", "older"), [([7, 8], "client"), ([0], "server")])
def test_a_server_of_another_version(fake, versions, older):
    class Other(env_pb2_grpc.EnvServiceServicer):
        def Describe(self, request, context):
            return env_pb2.DescribeResponse(protocol_versions=versions, server="rlbridge 9.0")

    spoken = ", ".join(map(str, versions))
    words = f"version skew: the server (rlbridge 9.0) speaks protocol {spoken}, this client (rlbridge "
    problem(diagnose(fake(Other())), "server", words, f"the {older} is the older one")


# ---------------------------------------------------------------------------------------------------------- TLS


def test_a_tls_server_with_a_plain_target(serve, certificate):
    target = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=ServerTls(*certificate)).urls[0]
    findings = diagnose(target.replace("grpcs", "grpc"))
    problem(findings, "encryption", "TLS mismatch: the server at", f"The server wants {target}.")
    assert "speaks TLS, and the target is not encrypted" in findings[-1].found


def test_a_plain_server_with_a_tls_target(serve):
    target = serve("CartPole-v1").urls[0]
    findings = diagnose(target.replace("grpc", "grpcs"))
    problem(findings, "encryption", "TLS mismatch: the server does not speak TLS (HTTP/2 answers", f"use {target}")


def test_certificates_that_this_side_refuses(serve, authority, certificate, tmp_path):
    target = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=ServerTls(*certificate)).urls[0]
    problem(
        diagnose(target), "encryption", "unknown authority: the server's certificate was not signed by any authority"
    )
    other = Authority(tmp_path / "other").ca
    problem(
        diagnose(target, {"tls_ca": other}), "encryption", f"not signed by the authority {other}", "RLBRIDGE_TLS_CA"
    )
    findings = diagnose(target.replace("127.0.0.1", "0.0.0.0"), {"tls_ca": authority.ca})
    words = "wrong host name: the server's certificate is not for '0.0.0.0', but for localhost, 127.0.0.1"
    problem(findings, "encryption", words, "subjectAltName")
    problem(diagnose(target, {"tls_ca": str(tmp_path / "none")}), "credentials", "credentials unusable: cannot read")
    problem(diagnose(target, {"tls_ca": authority.ca.replace("ca.pem", "ca.key")}), "credentials", "TLS file unusable")


def test_a_certificate_that_has_expired(serve, authority):
    (authority.folder / "index.txt").write_text("")
    (authority.folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
        "policy=any\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=IP:127.0.0.1\n"
    )
    _openssl("req -newkey rsa:2048 -nodes -subj /CN=old -keyout old.key -out old.csr", authority.folder)
    _openssl(
        "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in old.csr -out old.pem -extensions names "
        "-startdate 20200101000000Z -enddate 20210101000000Z",
        authority.folder,
    )
    tls = ServerTls(str(authority.folder / "old.pem"), str(authority.folder / "old.key"))
    target = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=tls).urls[0]
    words = "certificate expired: it was valid until Jan  1 00:00:00 2021 GMT".replace("  ", " ")
    problem(diagnose(target, {"tls_ca": authority.ca}), "encryption", words, "Renew")


def test_a_server_that_wants_a_client_certificate(serve, authority, certificate, tmp_path):
    target = serve("CartPole-v1", bind="grpcs://127.0.0.1:0", tls=ServerTls(*certificate, authority.ca)).urls[0]
    findings = diagnose(target, {"tls_ca": authority.ca})
    problem(findings, "encryption", "client certificate wanted: the server accepts only clients", "RLBRIDGE_TLS_CERT")
    cert, key = Authority(tmp_path / "other").issue("stranger")
    findings = diagnose(target, {"tls_ca": authority.ca, "tls_cert": cert, "tls_key": key})
    problem(findings, "encryption", f"client certificate refused: the server does not accept {cert}")
    cert, key = authority.issue("client")
    findings = diagnose(target, {"tls_ca": authority.ca, "tls_cert": cert, "tls_key": key})
    assert findings[-1].name == "steps"
    encryption = next(finding for finding in findings if finding.name == "encryption")
    assert encryption.status == "warning"  # the test's certificates live for two days
    assert "the certificate is for localhost, 127.0.0.1, until" in encryption.found


def test_tls_without_http2_inside(listener, authority, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def speak():
        listener.accept()[0].close()  # is anybody there?
        connection = context.wrap_socket(listener.accept()[0], server_side=True)
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    threading.Thread(target=speak, daemon=True).start()
    findings = diagnose(url(listener, "grpcs"), {"tls_ca": authority.ca}, timeout=10.0)
    problem(findings, "protocol", "not gRPC: an HTTP/1.1 server answers", url(listener, "https"))


# ------------------------------------------------------------------------------------- tokens, capacity, limits


def test_tokens_missing_wrong_and_for_observing_only(serve, tmp_path, monkeypatch):
    tokens = Tokens({CONTROL: Scope.CONTROL, OBSERVE: Scope.OBSERVE})
    target = serve("CartPole-v1", tokens=tokens).urls[0]

    def given(token: str) -> dict[str, str]:
        (tmp_path / token).write_text(token)
        return {"token_file": str(tmp_path / token)}

    problem(diagnose(target), "server", "token missing: the server wants one", "RLBRIDGE_TOKEN")
    findings = diagnose(target, given("a-wrong-token-entirely"))
    problem(findings, "server", "token wrong: it is none of this server's", "--token-file")
    assert "a-wrong-token" not in str(findings).replace(str(tmp_path), "")
    problem(diagnose(target, given(OBSERVE)), "session", "token scope too low: it allows observing", "'control'")
    monkeypatch.setenv("RLBRIDGE_TOKEN", CONTROL)
    findings = diagnose(target)
    assert findings[-1].name == "steps"
    assert "token accepted" in str(findings)


def test_an_unknown_environment(serve):
    target = serve("CartPole-v1").urls[0]
    words = "unknown environment: 'pendulum' is not served there; on offer: CartPole-v1"
    problem(diagnose(f"{target}/pendulum"), "server", words)


def test_a_message_limit_is_told_with_both_numbers(serve):
    target = serve("tests.envs:Wide", limits=ServerLimits(max_message_bytes=1_000_000)).urls[0]
    last = problem(diagnose(target), "session", "message limit: a step can take 10,0", "--max-message-mib")
    assert "the server's limit is 1,000,000" in last.found


def test_a_full_server(serve):
    target = serve("CartPole-v1", limits=ServerLimits(max_sessions=1)).urls[0]
    env = rlbridge.make(target)
    problem(
        diagnose(target), "capacity", "server overloaded: 1 of 1 sessions are open, it takes no more", "--max-sessions"
    )
    env.close()
    assert diagnose(target)[-1].status != "problem"


def test_a_client_that_has_its_share(serve):
    target = serve("CartPole-v1", limits=ServerLimits(max_sessions_per_client=1)).urls[0]
    env = rlbridge.make(target)
    problem(diagnose(target), "session", "server overloaded: this client (ipv4:127.0.0.1) has 1 sessions open")
    env.close()


def test_a_server_whose_threads_are_all_busy(serve):
    target = serve("CartPole-v1", limits=ServerLimits(max_sessions=1)).urls[0]
    with grpc.insecure_channel(target.removeprefix("grpc://")) as channel:
        exchange = env_pb2_grpc.EnvServiceStub(channel).Exchange
        streams = []

        def hold_streams() -> None:
            for _ in range(100):
                own: queue.SimpleQueue = queue.SimpleQueue()
                own.put(env_pb2.ExchangeRequest())
                streams.append(exchange(iter(own.get, None), timeout=30))
                next(streams[-1])  # answered: the server has given it a thread

        with pytest.raises(grpc.RpcError) as raised:
            hold_streams()
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        findings = diagnose(target)
        for stream in streams:
            stream.cancel()
    problem(findings, "server", "server overloaded:", "Close sessions")
    assert "is serving as many calls as it can" in findings[-1].found


# ---------------------------------------------------------------------------------------------- the environment


def test_a_slow_environment_is_named_with_its_share(serve):
    findings = diagnose(serve(f"{__file__}:Slow").urls[0], steps=8)
    assert (findings[-1].name, findings[-1].status) == ("steps", "warning")
    assert findings[-1].found.startswith("environment slow: 8 steps, ")
    share = re.search(r"environment (\d+)%", findings[-1].found)
    assert int(share.group(1)) > 50
    assert "environment's step faster" in findings[-1].advice


def test_an_environment_that_hangs_while_its_server_lives(serve):
    target = serve("tests.envs:Gate").urls[0]
    Gate.let_go.clear()
    try:
        findings = diagnose(target, timeout=4.0)
    finally:
        Gate.let_go.set()
    problem(findings, "steps", "environment slow: a step did not come back within", "make() a larger timeout")
    assert "while the server itself answers" in findings[-1].found


def test_an_environment_that_fails(serve):
    findings = diagnose(serve("tests.envs:BadObservation").urls[0])
    problem(findings, "steps", "environment failed:", "not in the connection")


def test_a_healthy_server_over_tcp_and_a_unix_socket(serve, tmp_path):
    server = serve("CartPole-v1", bind=["grpc://127.0.0.1:0", f"unix://{tmp_path}/e.sock"])
    for target in server.urls:
        findings = diagnose(target)
        assert all(finding.status != "problem" for finding in findings), findings
        assert [finding.name for finding in findings if finding.name not in ("proxy", "name")] == [
            "target",
            "credentials",
            "connection",
            "encryption",
            "protocol",
            "server",
            "round trip",
            "capacity",
            "session",
            "reset",
            "steps",
        ]
        shares = [int(share) for share in re.findall(r"(\d+)%", findings[-1].found)]
        assert abs(sum(shares) - 100) <= 2
    assert server.host.describe(env_pb2.DescribeRequest()).limits.open_sessions == 0


def test_without_steps_no_session_is_opened(serve):
    server = serve("CartPole-v1")
    assert diagnose(server.urls[0], steps=0)[-1].name == "capacity"


# -------------------------------------------------------------------------------------------------------- proxies


def test_a_proxy_that_does_not_let_the_target_through(serve, monkeypatch):
    target = serve("CartPole-v1").urls[0].replace("127.0.0.1", "0.0.0.0")  # which counts as another machine
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    last = problem(
        diagnose(target), "proxy", f"proxy captured: http_proxy=http://127.0.0.1:{port} captures this target"
    )
    assert "the proxy cannot be reached: connection refused; directly, the target can be reached" in last.found
    assert "set no_proxy=0.0.0.0 " in last.advice
    assert "secret" not in str(last)
    monkeypatch.setenv("no_proxy", "example.org,0.0.0.0")
    findings = diagnose(target, steps=0)
    assert findings[-1].name == "capacity"
    assert "no_proxy makes an exception" in str(findings)


def test_a_proxy_that_lets_the_target_through(serve, monkeypatch, listener):
    target = serve("CartPole-v1").urls[0].replace("127.0.0.1", "0.0.0.0")

    def forward(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def proxy() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            host, _, port = head.split()[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)), 5)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=proxy, daemon=True).start()
    monkeypatch.setenv("https_proxy", url(listener, "http"))
    findings = diagnose(target)
    assert findings[-1].name == "steps"
    captured = findings[2]
    assert (captured.name, captured.status) == ("proxy", "warning")
    assert "captures this target, and lets it through" in captured.found


@pytest.mark.parametrize(
    ("variables", "captured"),
    [
        ({"http_proxy": "PROXY"}, True),
        ({"https_proxy": "PROXY"}, True),
        ({"HTTPS_PROXY": "PROXY"}, False),
        ({"grpc_proxy": "", "http_proxy": "PROXY"}, False),
        ({"http_proxy": "PROXY", "no_proxy": "*"}, True),
        ({"http_proxy": "PROXY", "no_proxy": "x, 0.0.0.0"}, False),
        ({"http_proxy": "PROXY", "no_proxy": "0.0.0.0/8"}, False),
        ({"http_proxy": "PROXY", "no_proxy": "0.0.0.0:9"}, True),
        ({"http_proxy": "PROXY", "no_grpc_proxy": "x", "no_proxy": "0.0.0.0"}, True),
    ],
)
def test_the_doctor_and_grpc_agree_on_what_a_proxy_captures(listener, monkeypatch, variables, captured):
    seen = threading.Event()

    def refuse() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            seen.set()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            connection.close()

    threading.Thread(target=refuse, daemon=True).start()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("PROXY", url(listener, "http")))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        target = url(closed, host="0.0.0.0")
    link = open_link(parse_target(target))
    with pytest.raises(BridgeError):
        link.call(env_pb2.DescribeRequest(), 5.0)
    link.close()
    assert seen.is_set() == captured
    place, _ = read_target(target)
    if not captured:
        assert examine_proxy(place, Deadline(5.0))[0] is None
        return
    with pytest.raises(Problem, match=r"the proxy answers 'HTTP/1\.1 403 Forbidden'"):
        examine_proxy(place, Deadline(5.0))


# -------------------------------------------------------------------------------------------------- command line


def run(*arguments: str):
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_the_command_prints_findings_and_exits_by_the_worst(serve):
    target = serve("CartPole-v1").urls[0]
    command = [sys.executable, "-m", "rlbridge", "doctor", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok +connection +127\.0\.0\.1 port \d+ accepts connections", done.stdout, re.MULTILINE)
    assert re.search(r"^\w+ +steps ", done.stdout, re.MULTILINE)
    done = run(target.replace("grpc", "grpcs"), "--timeout", "10")
    assert done.exit_code == 1
    assert re.search(r"^problem  encryption +TLS mismatch: .*\n( +\S.*\n)* +-> Serve with", done.stdout, re.MULTILINE)
    facts = json.loads(run(target, "--json", "--steps", "0").stdout)
    assert (facts["target"], facts["healthy"]) == (target, True)
    assert facts["findings"][0].keys() == {"name", "status", "found", "advice"}
    done = run("grpc://plant.invalid:1", "--json")
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    assert facts["healthy"] is False
    assert facts["findings"][-1]["status"] == "problem"
