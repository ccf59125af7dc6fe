"""The first generation's wire: a server written from its description alone, in another process."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import gymnasium
import numpy as np
import pytest

import rlbridge
from rlbridge.errors import RemoteEnvError
from rlbridge.learn import train
from rlbridge.plants import PlantLost
from rlbridge.plants.drivers.legacy_http import LegacyHttpEnv
from rlbridge.server.catalog import Offer
from tests.conftest import ROOT
from tests.plants.peer import Peer

RUN_FILE = ROOT / "examples/legacy_http/run.yaml"
ZEROS = [0.0, 0.0, 0.0, 0.0]


@pytest.fixture
def server():
    peer = Peer("examples.legacy_http.server")
    yield peer
    peer.kill()


@pytest.fixture
def connect():
    envs = []

    def make(port, **kwargs):
        kwargs = {"initial_state": ZEROS, "actions": 2, "timeout": 5.0, **kwargs}
        envs.append(LegacyHttpEnv(f"http://127.0.0.1:{port}/", **kwargs))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


def test_the_bytes_are_those_of_the_wire(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("PUT", "/", "action=1", {"Content-Type": "application/x-www-form-urlencoded"})
    text = json.loads(connection.getresponse().read())
    connection.close()
    assert isinstance(text, str)
    assert set(json.loads(text)) == {"reward", "next_state", "done"}


def test_its_episodes_are_those_of_cartpole_from_the_fixed_state(connect, server):
    env, real = connect(server.port, max_episode_steps=500), gymnasium.make("CartPole-v1")
    actions = np.random.default_rng(0).integers(2, size=200)
    ends = 0
    state, info = env.reset(seed=1)
    real.reset(seed=0)
    real.unwrapped.state = np.zeros(4)
    assert np.array_equal(state, ZEROS)
    assert info == {}
    for action in actions:
        state, reward, terminated, truncated, _ = env.step(action)
        expected, _, real_end, _, _ = real.step(action)
        assert np.allclose(state, expected, atol=1e-7)
        assert (reward, terminated, truncated) == (1.0, real_end, False)
        if terminated:
            ends += 1
            state, info = env.reset()
            assert np.array_equal(state, ZEROS)
            real.reset(seed=0)
            real.unwrapped.state = np.zeros(4)
    assert ends > 3


def test_an_episode_cut_short_goes_on_and_says_so(connect, server):
    env = connect(server.port)
    env.reset()
    state = env.step(1)[0]
    again, info = env.reset(seed=3)
    assert np.array_equal(again, state)
    assert info == {"continues": True}


@pytest.fixture
def answering():
    """A server that answers every request with the same status and text; gives its port."""
    with ExitStack() as stack:

        def start(status: int, text: str) -> int:
            class Handler(BaseHTTPRequestHandler):
                def do_PUT(self):
                    self.rfile.read(int(self.headers["Content-Length"]))
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(text.encode())

                def log_message(self, *_):
                    pass

            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return server.server_port

        yield start


@pytest.mark.parametrize(("limit", "ends"), [(None, (True, False)), (2, (True, False)), (1, (False, True))])
def test_done_at_the_time_limit_is_a_truncation(connect, answering, limit, ends):
    answer = json.dumps({"reward": 1.0, "next_state": ZEROS, "done": True})
    env = connect(answering(200, json.dumps(answer)), max_episode_steps=limit)
    env.reset()
    assert env.step(0)[2:4] == ends


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, "oops"), "answered 500"),
        ((200, "oops"), "not a JSON string of JSON"),
        ((200, '"[1]"'), "not a JSON string of JSON"),
        ((200, '"{\\"reward\\": 1}"'), "not a JSON string of JSON.*next_state"),
        ((200, '{"reward": 1, "next_state": [1, 2], "done": false}'), "expected 4 finite numbers"),
        ((200, '{"reward": 1, "next_state": [1, 2, 3, NaN], "done": false}'), "expected 4 finite numbers"),
        ((200, '{"reward": null, "next_state": [1, 2, 3, 4], "done": false}'), "reward None"),
        ((200, '{"reward": 1, "next_state": [1, 2, 3, 4], "done": "no"}'), "done 'no'"),
        ((200, f'{{"reward": 1{"0" * 400}, "next_state": [1, 2, 3, 4], "done": false}}'), "no finite number"),
        ((200, f'{{"reward": 1, "next_state": [1, 2, 3, 1{"0" * 400}], "done": false}}'), "not a JSON string of JSON"),
        ((200, "[" * 100_000), "not a JSON string of JSON"),
    ],
)
def test_an_answer_that_the_wire_does_not_allow_is_told(connect, answering, answer, message):
    env = connect(answering(*answer))
    env.reset()
    with pytest.raises(PlantLost, match=message):
        env.step(0)


@pytest.mark.parametrize("drip", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n["])
def test_an_answer_that_never_ends_is_cut_off(connect, drip):
    ended = threading.Event()

    def feed(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while not ended.wait(0.05):
                connection.sendall(drip if drip.endswith(b"\n") else drip[-1:] if fed else drip)
                fed.append(1)

    fed: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=feed, args=(listener,), daemon=True)
        thread.start()
        env = connect(listener.getsockname()[1], timeout=0.5)
        env.reset()
        failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

        def step():
            try:
                env.step(0)
            except BaseException as error:
                failures.put(error)

        threading.Thread(target=step, daemon=True).start()
        try:
            with pytest.raises(PlantLost, match="gave no answer within"):
                raise failures.get(timeout=30)
        finally:
            ended.set()
            thread.join(10)


def test_a_server_that_hangs_or_dies_ends_its_own_session_and_no_other(server, serve):
    kwargs = {"url": f"http://127.0.0.1:{server.port}/", "initial_state": ZEROS, "actions": 2, "timeout": 1.0}
    offers = [Offer("legacy", LegacyHttpEnv, kwargs=kwargs), Offer("other", lambda: gymnasium.make("CartPole-v1"))]
    url = serve(offers).urls[0]
    env, other = rlbridge.make(f"{url}/legacy"), rlbridge.make(f"{url}/other")
    try:
        env.reset()
        other.reset(seed=0)
        env.step(0)
        server.hang()
        with pytest.raises(RemoteEnvError, match="gave no answer within 1 s"):
            env.step(0)
        server.go_on()
        other.step(0)
        server.kill()
        env.reset()
        with pytest.raises(RemoteEnvError, match="refused the connection"):
            env.step(0)
        other.step(0)
        server.start()
        env.reset()
        env.step(0)
    finally:
        env.close()
        other.close()


def test_a_run_file_names_it_and_dqn_trains_on_it(server, tmp_path):
    url = f"http://127.0.0.1:{server.port}/"
    run = train(
        RUN_FILE,
        [
            f"env.kwargs.url={url}",
            "algorithm.total_steps=300",
            "algorithm.learning_starts=100",
            "algorithm.train_every=8",
            f"run.dir={tmp_path}",
            "run.tensorboard=false",
        ],
        progress=False,
    )
    assert run.steps >= 300
