"""The Connect face: as its specification says, with plain HTTP and with the official client."""

from __future__ import annotations

import base64
import gzip
import json
import threading

import numpy as np
import pytest

from rlbridge.server import ServerLimits
from rlbridge.v1 import env_pb2
from tests.envs import Gate
from tests.http.http_call import call

SERVICE = "/rlbridge.v1.EnvService/"
PROTO = {"Content-Type": "application/proto"}
KEY = b"0123456789abcdef"


@pytest.fixture
def url(serve) -> str:
    return serve("tests.envs:Counter", bind="http://127.0.0.1:0", limits=ServerLimits(max_message_bytes=200_000)).urls[
        0
    ]


def connect(url, method, message, answer_type, **headers):
    answer = call(url, "POST", SERVICE + method, message.SerializeToString(), {**PROTO, **headers})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/proto"
    return answer_type.FromString(answer.body)


def opened(url):
    return connect(url, "Open", env_pb2.OpenRequest(protocol_version=1, open_key=KEY), env_pb2.OpenResponse)


def error_of(answer) -> tuple[str, env_pb2.Error]:
    assert answer.headers["content-type"] == "application/json"
    said = answer.json
    assert said["details"][0]["type"] == "rlbridge.v1.Error"
    value = said["details"][0]["value"]
    return said["code"], env_pb2.Error.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))


def test_a_whole_episode_in_binary(url):
    session = opened(url)
    reset = env_pb2.ResetRequest(session=session.session, epoch=session.epoch, seq=1, seed=0)
    connect(url, "Reset", reset, env_pb2.ResetResponse)
    step = env_pb2.StepRequest(session=session.session, epoch=session.epoch, seq=2, action=[np.int64(2).tobytes()])
    first = connect(url, "Step", step, env_pb2.StepResponse)
    assert np.frombuffer(first.reward) == 2.0
    again = connect(url, "Step", step, env_pb2.StepResponse)
    assert again.replayed
    assert again.observation == first.observation
    assert opened(url).session.id == session.session.id  # the same open_key
    connect(url, "Close", env_pb2.CloseRequest(session=session.session, epoch=session.epoch), env_pb2.CloseResponse)


def test_the_same_in_json(url):
    def say(method, **body):
        answer = call(url, "POST", SERVICE + method, body)
        assert answer.status == 200, answer.body
        return answer.json

    session = say("Open", protocolVersion=1, openKey=base64.b64encode(KEY).decode(), somethingNewer=3)
    who = {"session": session["session"], "epoch": session["epoch"]}
    say("Reset", **who, seq=1, seed="0")
    step = say("Step", **who, seq=2, action=[base64.b64encode(np.int64(1).tobytes()).decode()])
    assert np.frombuffer(base64.b64decode(step["reward"])) == 1.0
    assert say("Step", **who, seq=2, action=[base64.b64encode(np.int64(1).tobytes()).decode()])["replayed"] is True


def test_errors_carry_code_reason_and_the_whole_message(url):
    session = opened(url)
    reset = env_pb2.ResetRequest(session=session.session, epoch=session.epoch, seq=1)
    connect(url, "Reset", reset, env_pb2.ResetResponse)
    bad = env_pb2.StepRequest(session=session.session, epoch=session.epoch, seq=2, action=[np.int64(9).tobytes()])
    for seq, status, word, reason in [
        (2, 400, "invalid_argument", "INVALID_ACTION"),
        (1, 409, "aborted", "SEQ_CONFLICT"),
        (7, 400, "failed_precondition", "SEQ_GAP"),
    ]:
        bad.seq = seq
        answer = call(url, "POST", SERVICE + "Step", bad.SerializeToString(), PROTO)
        assert answer.status == status
        code, error = error_of(answer)
        assert (code, error.reason) == (word, reason)
    bad.epoch += 1
    code, error = error_of(call(url, "POST", SERVICE + "Step", bad.SerializeToString(), PROTO))
    assert (code, error.reason) == ("failed_precondition", "EPOCH_CHANGED")


@pytest.mark.parametrize(
    ("method", "call_name", "headers", "body", "status", "words"),
    [
        ("POST", "Fly", PROTO, b"", 404, "no call 'Fly'"),
        ("POST", "Exchange", PROTO, b"", 404, "Exchange is a WebSocket"),
        ("GET", "Describe", {}, None, 405, "use POST"),
        ("POST", "Describe", {"Content-Type": "text/plain"}, b"x", 415, "application/proto or application/json"),
        ("POST", "Describe", {}, b"x", 415, "content type"),
        ("POST", "Describe", PROTO, b"\xff\xff", 400, "no DescribeRequest"),
        ("POST", "Describe", {"Content-Type": "application/json"}, b"{", 400, "no DescribeRequest"),
        (
            "POST",
            "Describe",
            {"Content-Type": "application/json"},
            b'{"client": "' + b"\xff" + b'"}',
            400,
            "no Describe",
        ),
        ("POST", "Describe", {**PROTO, "Content-Encoding": "br"}, b"x", 501, "gzip and identity"),
        ("POST", "Describe", {**PROTO, "Content-Encoding": "gzip"}, b"no gzip", 400, "no gzip"),
        (
            "POST",
            "Describe",
            {**PROTO, "Content-Encoding": "gzip"},
            gzip.compress(b"", mtime=0)[:-4],
            400,
            "middle of its gzip",
        ),
        ("POST", "Describe", {**PROTO, "Connect-Protocol-Version": "2"}, b"", 400, "this server speaks 1"),
        ("POST", "Describe", {**PROTO, "Connect-Timeout-Ms": "soon"}, b"", 400, "no whole number"),
        ("POST", "Describe", PROTO, bytes(200_001), 429, "this server's limit is 200000"),
    ],
)
def test_what_is_wrong_as_http_is_refused(url, method, call_name, headers, body, status, words):
    answer = call(url, method, SERVICE + call_name, body, headers)
    assert answer.status == status
    assert words in error_of(answer)[1].message


def test_json_nested_too_deep_is_refused(url):
    deep = b'{"options":' + b'{"list":{"items":[' * 3000 + b"]}}" * 3000 + b"}"
    answer = call(url, "POST", SERVICE + "Reset", deep, {"Content-Type": "application/json"})
    assert answer.status == 400
    assert error_of(answer)[0] == "invalid_argument"


def test_gzip_both_ways_and_a_bomb_is_not_unpacked(url):
    packed = gzip.compress(env_pb2.DescribeRequest(protocol_versions=[1]).SerializeToString())
    headers = {**PROTO, "Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = call(url, "POST", SERVICE + "Describe", packed, headers)
    assert env_pb2.DescribeResponse.FromString(answer.body).protocol_version == 1  # small: not worth packing
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    answer = call(url, "POST", SERVICE + "Describe", bomb, headers)
    assert answer.status == 429
    assert error_of(answer)[1].reason == "MESSAGE_TOO_LARGE"


def test_a_large_answer_is_packed_where_that_is_accepted(serve):
    url = serve("tests.envs:Wide", bind="http://127.0.0.1:0").urls[0]
    session = opened(url)
    reset = env_pb2.ResetRequest(session=session.session, epoch=session.epoch, seq=1).SerializeToString()
    answer = call(url, "POST", SERVICE + "Reset", reset, {**PROTO, "Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(env_pb2.ResetResponse.FromString(gzip.decompress(answer.body)).observation[0]) == 10_000_000


def test_a_deadline_is_kept_and_the_outcome_too(serve):
    Gate.entered.clear()
    Gate.let_go.clear()
    url = serve("tests.envs:Gate", bind="http://127.0.0.1:0").urls[0]
    session = opened(url)
    who = {"session": session.session, "epoch": session.epoch}
    connect(url, "Reset", env_pb2.ResetRequest(**who, seq=1), env_pb2.ResetResponse)
    step = env_pb2.StepRequest(**who, seq=2, action=[np.int64(1).tobytes()])
    headers = {**PROTO, "Connect-Timeout-Ms": "200"}
    answer = call(url, "POST", SERVICE + "Step", step.SerializeToString(), headers)
    assert answer.status == 504
    assert error_of(answer)[0] == "deadline_exceeded"
    assert Gate.entered.wait(30)
    threading.Timer(0.2, Gate.let_go.set).start()
    assert connect(url, "Step", step, env_pb2.StepResponse).replayed


def test_the_official_client_understands_all_of_it(url):
    client_module = pytest.importorskip("connectrpc.client")
    from connectrpc.code import Code
    from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
    from connectrpc.errors import ConnectError
    from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType

    def method(name):
        return MethodInfo(
            name=name,
            service_name="rlbridge.v1.EnvService",
            input=getattr(env_pb2, f"{name}Request"),
            output=getattr(env_pb2, f"{name}Response"),
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=StreamType.UNARY,
        )

    for codec in (google_protobuf_binary_codec(), google_protobuf_json_codec()):
        with client_module.ConnectClientSync(url, codec=codec, timeout_ms=20_000) as client:

            def say(name, message, client=client):
                return client.execute_unary(request=message, method=method(name))

            assert say("Describe", env_pb2.DescribeRequest(protocol_versions=[1])).protocol_version == 1
            session = say("Open", env_pb2.OpenRequest(protocol_version=1, open_key=codec.name().encode() * 8))
            who = {"session": session.session, "epoch": session.epoch}
            say("Reset", env_pb2.ResetRequest(**who, seq=1, seed=3))
            step = env_pb2.StepRequest(**who, seq=2, action=[np.int64(2).tobytes()])
            assert np.frombuffer(say("Step", step).reward) == 2.0
            assert say("Step", step).replayed
            step.action[0] = np.int64(1).tobytes()
            with pytest.raises(ConnectError) as raised:
                say("Step", step)
            assert raised.value.code is Code.ABORTED
            assert "executed with other content" in raised.value.message
            say("Close", env_pb2.CloseRequest(**who))


def test_an_error_is_json_without_padding_in_its_detail(url):
    raw = call(url, "POST", SERVICE + "Open", {"protocolVersion": 9})
    assert raw.status == 400
    assert not json.loads(raw.body)["details"][0]["value"].endswith("=")
    assert error_of(raw)[1].reason == "PROTOCOL_MISMATCH"
