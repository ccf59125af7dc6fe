"""The HTTP faces under the same: Connect in both codecs, plain JSON, and WebSocket frames."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbridge.v1 import env_pb2
from tests.fuzz.mutations import EXCHANGES, METHODS, SEEDS, fuzzed, mutated

client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ["seed", "action", "env", "num_envs", "options", "seq", "token", "autoreset_mode", "render_mode", "reset_mask"]
PATHS = ["/v1/describe", "/v1/sessions", "/v1/sessions/x", "/v1/sessions/x/step", "/v1/sessions/x/reset", "/v2", "/%00"]


@pytest.fixture
def server(fuzzed_server):
    return fuzzed_server("http")


@pytest.fixture
def target(server):
    return urlsplit(server.url)


class Asker:
    """One connection that is kept, and made again when the server has closed it."""

    def __init__(self, target) -> None:
        self._connection = http.client.HTTPConnection(target.hostname, target.port, timeout=20)

    def post(self, path: str, body: bytes, kind: str, method: str = "POST") -> int:
        for attempt in (1, 2):  # the first may find a connection that the answer before has closed
            try:
                self._connection.request(method, path, body, {"Content-Type": kind})
                answer = self._connection.getresponse()
                answer.read()
                return answer.status
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")


@pytest.mark.timeout(3000)
def test_connect_calls_always_answer(server, target):
    asker = Asker(target)

    @fuzzed
    @given(
        st.sampled_from(METHODS).flatmap(lambda method: st.tuples(st.just(method), mutated(SEEDS[method]))),
        st.sampled_from(["application/proto", "application/json", "text/plain"]),
    )
    def attack(case, kind):
        method, data = case
        assert 200 <= asker.post(f"/rlbridge.v1.EnvService/{method}", data, kind) < 500
        server.tried()

    attack()


@pytest.mark.timeout(3000)
def test_plain_json_always_answers(server, target):
    asker = Asker(target)

    @fuzzed
    @given(
        st.sampled_from(PATHS),
        st.sampled_from(["GET", "POST", "DELETE"]),
        st.one_of(
            st.binary(max_size=60),
            st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=4).map(lambda tree: json.dumps(tree).encode()),
            st.integers(10, 3000).map(lambda depth: b'{"options":' + b"[" * depth + b"]" * depth + b"}"),
        ),
    )
    def attack(path, method, body):
        status = asker.post(path, body, "application/json", method)
        assert 200 <= status < 500, status  # whatever comes, it is the sender's mistake and not the server's
        server.tried()

    attack()


class Stream:
    """One WebSocket that is kept, and made again when the server has ended it."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url, self._stack = url, stack
        self._connect()

    def _connect(self) -> None:
        self._stack.close()
        self._connection = self._stack.enter_context(client.connect(self._url, compression=None, max_size=None))

    def ask(self, frame: bytes) -> bytes:
        try:
            return self._exchanged(frame)
        except exceptions.ConnectionClosed as error:
            if error.rcvd is None or error.rcvd.reason != "no session here":  # in ten seconds, and no other way
                raise
            self._connect()
            return self._exchanged(frame)

    def _exchanged(self, frame: bytes) -> bytes:
        self._connection.send(frame)
        return self._connection.recv(timeout=20)


@pytest.mark.timeout(3000)
def test_websocket_frames_always_answer(server, target):
    with ExitStack() as stack:
        stream = Stream(f"ws://{target.netloc}/rlbridge.v1.EnvService/Exchange", stack)

        @fuzzed
        @given(mutated(EXCHANGES))
        def attack(frame):
            answer = env_pb2.ExchangeResponse.FromString(stream.ask(frame))
            assert answer.error.reason not in ("", "INTERNAL"), answer
            server.tried()

        attack()
