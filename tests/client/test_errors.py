"""Bad input: each with the exact error, and what it leaves behind."""

from __future__ import annotations

import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from rlbridge.server import ServerLimits
from rlbridge.v1 import env_pb2, env_pb2_grpc


def message(raised) -> str:
    return str(raised.value)


# ------------------------------------------------------------------------------------------------------ actions


@pytest.fixture
def discrete(serve):
    env = rlbridge.make(serve("tests.envs:Counter").urls[0])
    env.reset(seed=0)
    yield env
    env.close()


@pytest.fixture
def box(serve):
    env = rlbridge.make(serve("tests.envs:Continuous").urls[0])
    env.reset(seed=0)
    yield env
    env.close()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (7, "action: 7 is outside [0, 2]; nothing was stepped."),
        (-1, "action: -1 is outside [0, 2]; nothing was stepped."),
        (0.5, "float64 0.5 where int64 is expected. The environment takes an action of Discrete(3)"),
        (np.nan, "float64 nan where int64 is expected"),
        ([0, 1], "shape [2] where [] is expected"),
        ("left", "where int64 is expected"),
        (None, "where int64 is expected"),
        (2**70, "where int64 is expected"),
    ],
)
def test_a_bad_discrete_action_is_named_and_nothing_is_stepped(discrete, action, words):
    with pytest.raises(errors.InvalidAction) as raised:
        discrete.step(action)
    assert words in message(raised)
    observation, _, _, _, info = discrete.step(1)
    np.testing.assert_array_equal(observation, [0, 1])
    assert info["total"] == 1


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.array([0.0, 2.5], np.float32), "action, element [1]: 2.5 is outside [-2.0, 2.0]; nothing was stepped."),
        (np.array([np.nan, 0.0], np.float32), "action, element [0]: nan is not a number; nothing was stepped."),
        (np.array([np.inf, 0.0], np.float32), "action, element [0]: inf is outside [-1.0, 1.0]"),
        (np.zeros(3, np.float32), "shape [3] where [2] is expected"),
        (np.float32(0.0), "shape [] where [2] is expected"),
        (np.zeros(2, np.complex128), "complex128"),
        ([[0.0], [0.0, 1.0]], "not an array of numbers"),
    ],
)
def test_a_bad_box_action_is_named_and_nothing_is_stepped(box, action, words):
    with pytest.raises(errors.InvalidAction) as raised:
        box.step(action)
    assert words in message(raised)
    observation, *_ = box.step([0.5, -2])  # lists and other numbers that fit are taken, as Gymnasium's arrays are
    np.testing.assert_array_equal(observation, np.array([0.5, -2], np.float32))


def test_the_row_of_a_bad_action_in_a_batch_is_named(serve):
    envs = rlbridge.make_vec(serve("tests.envs:Continuous").urls[0], 3)
    envs.reset(seed=0)
    with pytest.raises(errors.InvalidAction) as raised:
        envs.step(np.array([[0, 0], [0, 0], [0, 9]], np.float32))
    assert "action, row 2, element [1]: 9.0 is outside [-2.0, 2.0]" in message(raised)
    assert raised.value.details["row"] == "2"
    with pytest.raises(errors.InvalidAction, match=r"shape \[2, 2\] where \[3, 2\] is expected"):
        envs.step(np.zeros((2, 2), np.float32))
    envs.close()


@pytest.mark.parametrize(("bounds", "arrives"), [("clip", [1, -2]), ("ignore", [5, -7])])
def test_a_server_can_clip_or_ignore_bounds(serve, bounds, arrives):
    env = rlbridge.make(serve("tests.envs:Continuous", action_bounds=bounds).urls[0])
    env.reset(seed=0)
    observation, *_ = env.step(np.array([5, -7], np.float32))
    np.testing.assert_array_equal(observation, np.array(arrives, np.float32))
    with pytest.raises(errors.InvalidAction, match="nan is not a number"):
        env.step(np.array([np.nan, 0], np.float32))
    env.close()


# --------------------------------------------------------------------------------------------- the environment


def test_an_exception_arrives_with_its_traceback_and_the_session_lives_on(serve):
    env = rlbridge.make(serve("tests.envs:Fragile").urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.RemoteEnvError) as raised:
        env.step(2)
    assert "the environment raised ValueError in step: boom at action 2." in message(raised)
    assert 'raise ValueError("boom at action 2")' in raised.value.remote_traceback
    with pytest.raises(errors.NeedsReset):
        env.step(0)
    env.reset(seed=0)
    assert env.step(1)[1] == 1.0
    env.close()


def test_a_server_can_keep_its_tracebacks(serve):
    env = rlbridge.make(serve("tests.envs:Fragile", limits=ServerLimits(show_tracebacks=False)).urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.RemoteEnvError) as raised:
        env.step(2)
    assert raised.value.remote_traceback == ""
    env.close()


def test_an_observation_that_its_own_space_does_not_allow_is_the_environments_fault(serve):
    env = rlbridge.make(serve("tests.envs:BadObservation").urls[0])
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(errors.RemoteEnvError, match=r"own observation space does not allow.*shape \[3\] where \[2\]"):
        env.step(0)
    env.close()


def test_step_before_reset_says_so(serve):
    env = rlbridge.make(serve("CartPole-v1").urls[0])
    with pytest.raises(errors.NeedsReset, match="call reset"):
        env.step(0)
    env.close()


def test_a_closed_environment_says_so(serve):
    env = rlbridge.make(serve("CartPole-v1").urls[0])
    env.close()
    env.close()
    with pytest.raises(errors.SessionExpired, match="is closed"):
        env.reset()


# -------------------------------------------------------------------------------------------------- the catalog


def test_an_unknown_environment_on_a_server_names_those_on_offer(serve):
    url = serve("CartPole-v1").urls[0]
    with pytest.raises(errors.UnknownEnvironment, match="no environment 'Pendulum-v1' is served here; on offer: Cart"):
        rlbridge.make(f"{url}/Pendulum-v1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPoel-v1", "is not a registered Gymnasium id"),
        ("no_such_module:make", "no module 'no_such_module'"),
        ("tests.envs:nothing", "no callable 'nothing' there"),
        ("nowhere.py:Env", "does not exist"),
        ("tests.envs:not_an_environment", "must return a gymnasium.Env"),
        ("examples", "holds no serve.yaml"),
    ],
)
def test_an_unknown_environment_cannot_be_served(serve, name, words, monkeypatch):
    monkeypatch.chdir(pytest.importorskip("tests.conftest").ROOT)
    with pytest.raises(errors.UnknownFactory) as raised:
        serve(name)
    assert words in message(raised)


def test_an_environment_that_cannot_be_made_is_found_at_the_start(serve):
    with pytest.raises(errors.RemoteEnvError, match="raised OSError: the licence server is down"):
        serve("tests.envs:cannot_be_made")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env: CartPole-v1\nvectorisation: native\n", "vectorisation"),
        ("env: 3\n", "env: "),
        ("- CartPole-v1\n", "must hold a mapping"),
        ("env: [\n", "is not valid YAML"),
        ("envs: [{env: CartPole-v1}, {env: CartPole-v1}]\n", "offers the same name twice"),
    ],
)
def test_a_serve_file_with_a_mistake_says_which(serve, tmp_path, text, words):
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(errors.UnknownFactory) as raised:
        serve(str(tmp_path))
    assert words in message(raised)


# --------------------------------------------------------------------------------------------------- addresses


def test_a_port_that_is_taken_is_named(serve):
    url = serve("CartPole-v1").urls[0]
    with pytest.raises(errors.PortTaken, match="address already in use"):
        serve("CartPole-v1", bind=url)


def test_a_unix_socket_that_is_taken_is_named_and_a_stale_one_replaced(serve, tmp_path):
    path = f"unix://{tmp_path}/env.sock"
    serve("CartPole-v1", bind=path)
    with pytest.raises(errors.PortTaken, match="another server answers there"):
        serve("CartPole-v1", bind=path)
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    serve("CartPole-v1", bind=f"unix://{stale}")
    rlbridge.make(f"unix://{stale}").close()


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("grpc://0.0.0.0:0", "can be reached from other machines"),
        ("grpc://127.0.0.1", "expected grpc://HOST:PORT"),
        ("ftp://127.0.0.1:1", "expected grpc://HOST:PORT"),
        ("grpc://127.0.0.1:99999", "Port out of range"),
    ],
)
def test_a_bind_that_is_no_good_is_refused(serve, bind, words):
    with pytest.raises(errors.BindRefused) as raised:
        serve("CartPole-v1", bind=bind)
    assert words in message(raised)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("ftp://host:1", "this version speaks grpc://, grpcs://, http://, https://, unix:// and shm://"),
        ("grpc://host", "expected grpc://HOST:PORT"),
        ("grpc://host:70000", "Port out of range"),
        ("grpc://host:1?colour=red", "unknown option colour"),
    ],
)
def test_a_target_that_is_none_is_refused(target, words):
    with pytest.raises(errors.BadTarget) as raised:
        rlbridge.make(target)
    assert words in message(raised)


def test_no_server_there_is_named_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]
        with pytest.raises(errors.Unavailable, match=f"nothing answers at grpc://127.0.0.1:{port}"):
            rlbridge.make(f"grpc://127.0.0.1:{port}")


def test_a_server_that_never_answers_is_noticed_within_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises((errors.DeadlineExceeded, errors.Unavailable), match=r"did not answer within 1 s|nothing"):
            rlbridge.make(f"grpc://127.0.0.1:{silent.getsockname()[1]}", timeout=1.0)


def test_a_server_of_another_protocol_is_named():
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()

        def answer() -> None:
            connection, _ = web.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(errors.ProtocolMismatch, match="does not speak gRPC"):
            rlbridge.make(f"grpc://127.0.0.1:{web.getsockname()[1]}", timeout=5.0)
        thread.join(10)


@pytest.fixture
def foreign_server():
    """A gRPC server with whatever handlers it is given."""
    servers = []

    def start(servicer=None) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(2))
        if servicer is not None:
            env_pb2_grpc.add_EnvServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"grpc://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait(5)


def test_a_grpc_server_of_something_else_is_named(foreign_server):
    with pytest.raises(errors.ProtocolMismatch, match="it is no rlbridge server"):
        rlbridge.make(foreign_server())


def test_a_server_of_another_version_is_named(foreign_server):
    class Newer(env_pb2_grpc.EnvServiceServicer):
        def Describe(self, request, context):
            return env_pb2.DescribeResponse(server="rlbridge 9.0", protocol_versions=[7, 8])

    with pytest.raises(errors.ProtocolMismatch) as raised:
        rlbridge.make(foreign_server(Newer()))
    assert "rlbridge 9.0) speaks protocol versions [7, 8], this client 1" in message(raised)


def test_a_server_that_stops_while_a_client_is_open_is_noticed(serve):
    server = serve("CartPole-v1")
    env = rlbridge.make(server.urls[0], retry_for=1.0)
    env.reset(seed=0)
    server.stop()
    with pytest.raises((errors.Unavailable, errors.EnvLost)):
        env.step(0)
    env.close()


# ----------------------------------------------------------------------------------------------------- capacity


def test_an_observation_larger_than_the_limit_is_refused_at_open_with_both_numbers(serve):
    url = serve("tests.envs:Wide", limits=ServerLimits(max_message_bytes=1_000_000)).urls[0]
    with pytest.raises(errors.MessageTooLarge) as raised:
        rlbridge.make(url)
    assert "can take 10004112 bytes, the server's limit is 1000000" in message(raised)
    url = serve("tests.envs:Wide").urls[0]
    with pytest.raises(errors.MessageTooLarge, match="the client's limit is 2000000"):
        rlbridge.make(url, max_message_bytes=2_000_000)
    with pytest.raises(errors.MessageTooLarge, match=r"with 7 environment\(s\) can take"):
        rlbridge.make_vec(url, 7)
    env = rlbridge.make(url)
    assert env.reset()[0].nbytes == 10_000_000
    env.close()


def test_an_info_larger_than_the_limit_is_an_error_and_the_session_lives_on(serve):
    env = rlbridge.make(serve("tests.envs:Chatty", limits=ServerLimits(max_message_bytes=100_000)).urls[0])
    env.reset(seed=0)
    with pytest.raises(errors.MessageTooLarge, match=r"the limit is 100000\. The step was executed"):
        env.step(1)
    observation, *_ = env.step(0)
    np.testing.assert_array_equal(observation, [0, 2])
    env.close()


def test_too_many_sub_environments_are_refused_with_the_numbers(serve):
    url = serve("CartPole-v1", limits=ServerLimits(max_envs=4)).urls[0]
    with pytest.raises(errors.CapacityExhausted, match="5 sub-environments were asked for, this server allows 4"):
        rlbridge.make_vec(url, 5)


def test_sixty_four_sessions_work_at_once_and_the_next_is_refused_with_the_numbers(serve):
    url = serve("CartPole-v1").urls[0]
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


def test_many_sub_environments_send_and_recv_are_halves_of_step(serve):
    envs = rlbridge.make_vec(serve("tests.envs:Counter").urls[0], 2)
    envs.reset(seed=0)
    envs.send(np.array([1, 2]))
    with pytest.raises(errors.RequestPending, match="receive its answer first"):
        envs.send(np.array([1, 2]))
    _, rewards, *_ = envs.recv()
    np.testing.assert_array_equal(rewards, [1, 2])
    with pytest.raises(errors.RequestPending, match="no request is under way"):
        envs.recv()
    envs.close()
