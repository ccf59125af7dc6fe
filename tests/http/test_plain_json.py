"""Plain JSON, as a person with curl writes it."""

from __future__ import annotations

import json
import struct
import subprocess
import threading
import zlib

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import rlbridge
from rlbridge import errors
from rlbridge.server import ServerLimits
from rlbridge.server.plain_json import sample_from_json, sample_to_json, value_to_json
from rlbridge.wire import BlockCodec
from tests.http.http_call import call


class Session:
    """A session over plain JSON."""

    def __init__(self, url: str, **body) -> None:
        self.url = url
        answer = call(url, "POST", "/v1/sessions", body)
        assert answer.status == 201, answer.body
        self.opened = answer.json
        self.path = f"/v1/sessions/{self.opened['session']}"
        self.headers = {"X-Session-Token": self.opened["token"]}

    def say(self, verb: str, status: int = 200, **body):
        answer = call(self.url, "POST", f"{self.path}/{verb}", body, self.headers)
        assert answer.status == status, answer.body
        return answer.json


@pytest.fixture
def url(serve) -> str:
    return serve("tests.envs:Counter", bind="http://127.0.0.1:0", limits=ServerLimits(max_message_bytes=200_000)).urls[
        0
    ]


def test_an_episode_with_curl(serve):
    url = serve("CartPole-v1", bind="http://127.0.0.1:0").urls[0]

    def curl(*arguments: str):
        done = subprocess.run(["curl", "--silent", "--noproxy", "*", *arguments], capture_output=True, timeout=30)
        assert done.returncode == 0
        return json.loads(done.stdout) if done.stdout else None

    like_json = ("-H", "Content-Type: application/json")
    assert curl(f"{url}/v1/describe")["environments"][0]["action_space"] == {"type": "Discrete", "n": 2, "start": 0}
    session = curl("-X", "POST", f"{url}/v1/sessions")
    path, token = f"{url}/v1/sessions/{session['session']}", ("-H", f"X-Session-Token: {session['token']}")
    local = gymnasium.make("CartPole-v1")
    reset = curl(*token, *like_json, "-d", '{"seed": 0}', f"{path}/reset")
    assert np.array_equal(np.array(reset["observation"], np.float32), local.reset(seed=0)[0])
    for action in (1, 0, 1):
        step = curl(*token, *like_json, "-d", json.dumps({"action": action}), f"{path}/step")
        observation, reward, terminated, truncated, info = local.step(action)
        assert np.array_equal(np.array(step["observation"], np.float32), observation)
        assert (step["reward"], step["terminated"], step["truncated"], step["info"]) == (1.0, False, False, {})
        assert (reward, terminated, truncated, info) == (1.0, False, False, {})
    assert curl("-X", "DELETE", *token, path) is None
    assert curl(*token, "-X", "POST", f"{path}/reset")["error"]["reason"] == "SESSION_EXPIRED"


def test_a_numbered_request_is_executed_once_and_one_without_a_number_is_another_one(url):
    session = Session(url)
    session.say("reset", seq=1, seed=0)
    first = session.say("step", seq=2, action=1)
    again = session.say("step", seq=2, action=1)
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again == {**first, "replayed": True}
    assert session.say("step", 409, seq=2, action=2)["error"]["reason"] == "SEQ_CONFLICT"
    assert session.say("step", 400, seq=9, action=1)["error"]["reason"] == "SEQ_GAP"
    for seq in (3, 4, 5, 6):
        assert session.say("step", action=1)["seq"] == seq
    assert session.say("step", 400, seq=2, action=1)["error"]["reason"] == "SEQ_EXPIRED"
    assert session.say("step", action=1)["info"]["total"] == 6


def test_many_at_once_without_numbers_are_all_executed(url):
    session = Session(url)
    session.say("reset")
    totals = []
    threads = [
        threading.Thread(target=lambda: totals.append(session.say("step", action=1)["info"]["total"])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(totals) == list(range(1, 9))


def test_opening_twice_with_one_key_is_one_session(url):
    first, second = (Session(url, open_key="my very own key 1").opened for _ in range(2))
    assert first["session"] == second["session"]
    assert Session(url).opened["session"] != first["session"]


@pytest.mark.parametrize(
    ("body", "status", "reason", "words"),
    [
        ({"action": 7}, 400, "INVALID_ACTION", "action: 7 is outside [0, 2]; nothing was stepped."),
        ({"action": "left"}, 400, "INVALID_ACTION", "'left' is no number"),
        ({"action": [0, 1]}, 400, "INVALID_ACTION", "a list where a number is expected"),
        ({"action": None}, 400, "INVALID_ACTION", "null where numbers are expected"),
        ({"action": 0.5}, 400, "INVALID_ACTION", "float64 0.5 where int64 is expected"),
        ({"action": 2**80}, 400, "INVALID_ACTION", "where int64 is expected"),
        ({}, 400, "INVALID_ACTION", "the body has no 'action'"),
        ({"acton": 1}, 400, "INVALID_REQUEST", "unknown key 'acton'; did you mean 'action'?"),
        ({"action": 1, "seq": 0}, 400, "INVALID_REQUEST", "seq must be a whole number"),
        ({"action": 1, "seq": True}, 400, "INVALID_REQUEST", "seq must be a whole number"),
        ([1], 400, "INVALID_REQUEST", "must be a JSON object, got list"),
        (b"{", 400, "INVALID_REQUEST", "no JSON"),
        (b"[" * 100_000, 400, "INVALID_REQUEST", "no JSON"),
        (b'{"action": ' + b"9" * 5000 + b"}", 400, "INVALID_REQUEST", "no JSON"),
        (b'{"action": "' + b"x" * 200_000 + b'"}', 413, "MESSAGE_TOO_LARGE", "this server's limit is 200000"),
    ],
)
def test_a_bad_step_is_named_and_nothing_is_stepped(url, body, status, reason, words):
    session = Session(url)
    session.say("reset", seed=0)
    headers = {**session.headers, "Content-Type": "application/json"}
    answer = call(url, "POST", f"{session.path}/step", body, headers)
    assert answer.status == status
    assert answer.json["error"]["reason"] == reason
    assert words in answer.json["error"]["message"]
    assert session.say("step", action=1)["info"]["total"] == 1


def test_what_curl_sends_by_default_is_refused_with_the_option_to_add(url):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = call(url, "POST", "/v1/sessions", b'{"num_envs": 1}', form)
    assert answer.status == 415
    assert "-H 'Content-Type: application/json'" in answer.json["error"]["message"]


def test_the_sessions_token_is_wanted_and_a_wrong_one_is_no_session(url):
    session = Session(url)
    answer = call(url, "POST", f"{session.path}/reset")
    assert (answer.status, answer.json["error"]["reason"]) == (401, "UNAUTHENTICATED")
    for wrong in ("00" * 16, "not hex"):
        answer = call(url, "POST", f"{session.path}/reset", headers={"X-Session-Token": wrong})
        assert (answer.status, answer.json["error"]["reason"]) == (404, "SESSION_EXPIRED")
    assert call(url, "POST", f"{session.path}/reset", {"token": session.opened["token"]}).status == 200
    assert call(url, "DELETE", session.path, headers={"X-Session-Token": "00" * 16}).status == 204  # and ignored
    assert session.say("keepalive")["lease_seconds"] == 60
    assert session.say("step", action=1)["reward"] == 1.0


def test_whoever_takes_the_session_over_fences_this_face_off(serve):
    url = serve("tests.envs:Counter", bind="http://127.0.0.1:0").urls[0]
    from rlbridge.client.connect import open_link
    from rlbridge.client.target import parse_target
    from rlbridge.v1 import env_pb2

    session = Session(url)
    session.say("reset")
    link = open_link(parse_target(url))
    epoch = link.call(env_pb2.DescribeRequest(protocol_versions=[1]), 5).epoch
    token = bytes.fromhex(session.opened["token"])
    link.call(env_pb2.ResumeRequest(session_id=session.opened["session"], token=token, epoch=epoch), 5)
    link.close()
    assert session.say("step", 409, action=1)["error"]["reason"] == "SUPERSEDED"


def test_a_batch_is_lists(url):
    session = Session(url, num_envs=2, autoreset_mode="same_step")
    assert session.opened["autoreset_mode"] == "same_step"
    assert session.say("reset", seeds=[5, None])["observation"] == [[0, 0], [0, 0]]
    for _ in range(4):
        step = session.say("step", action=[1, 2])
    assert step["reward"] == [1, 2]
    assert step["terminated"] == [False, False]
    step = session.say("step", action=[0, 1])
    assert step["terminated"] == [True, True]
    assert step["observation"] == [[1, 0], [1, 0]]
    assert step["final_observation"] == {"0": [0, 5], "1": [0, 5]}
    error = session.say("step", 400, action=[1])["error"]
    assert "a list of 2 actions is expected, got 1 of them" in error["message"]
    ended = Session(url, num_envs=2, autoreset_mode="disabled")
    ended.say("reset")
    ended.say("reset", reset_mask=[True, False])
    assert ended.say("reset", 400, reset_mask=[1, 0])["error"]["reason"] == "INVALID_REQUEST"


def test_a_frame_is_a_picture_or_text(url):
    session = Session(url, render_mode="rgb_array")
    session.say("reset")
    frame = call(url, "POST", f"{session.path}/render", headers=session.headers)
    assert frame.headers["content-type"] == "image/png"
    assert frame.body.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", frame.body[16:24]) == (6, 4)
    start = frame.body.index(b"IDAT")
    length = struct.unpack(">I", frame.body[start - 4 : start])[0]
    assert len(zlib.decompress(frame.body[start + 4 : start + 4 + length])) == 4 * (1 + 6 * 3)
    session = Session(url, render_mode="ansi")
    session.say("reset")
    assert call(url, "POST", f"{session.path}/render", headers=session.headers).body == b"episode 0 step 0"


def test_every_kind_of_space_can_be_written_by_hand(serve):
    url = serve("tests.envs:AnySpace", bind="http://127.0.0.1:0").urls[0]
    env = rlbridge.make(url)
    space = env.action_space
    env.close()
    session = Session(url)
    session.say("reset", seed=4)
    space.seed(7)
    for _ in range(20):
        sample = space.sample()
        written = sample_to_json(space, sample)
        assert session.say("step", action=json.loads(json.dumps(written)))["observation"] == written


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict(
            {"a": spaces.Discrete(3, start=-1), "b": spaces.Tuple((spaces.Text(5), spaces.MultiBinary([2, 2])))}
        ),
        spaces.Sequence(spaces.Box(-1, 1, (2,))),
        spaces.Sequence(spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "n": spaces.Discrete(4)}), stack=True),
        spaces.Graph(spaces.Box(-1, 1, (3,)), spaces.Discrete(5)),
        spaces.OneOf((spaces.Discrete(2), spaces.Box(0, 255, (2, 2), np.uint8))),
        spaces.MultiDiscrete([[3, 4], [5, 6]]),
        spaces.Box(-np.inf, np.inf, ()),
    ],
    ids=lambda space: type(space).__name__,
)
def test_a_sample_comes_back_from_json_as_it_was(space):
    codec = BlockCodec(space)
    space.seed(3)
    for _ in range(10):
        sample = space.sample()
        text = json.dumps(sample_to_json(space, sample), allow_nan=False)
        assert codec.pack(sample_from_json(space, json.loads(text))) == codec.pack(sample)


def test_numbers_that_json_has_not_are_words_both_ways():
    box = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    sample = np.array([np.nan, np.inf, -np.inf])
    assert sample_to_json(box, sample) == ["NaN", "Infinity", "-Infinity"]
    assert np.array_equal(sample_from_json(box, ["NaN", "Infinity", "-Infinity"]), sample, equal_nan=True)
    nested = {"a": (np.float32("nan"), b"\x00\xff", None, 2**70, np.array(["x"], object), object)}
    assert json.dumps(value_to_json(nested), allow_nan=False)


def test_a_wrong_structure_names_where():
    space = spaces.Dict({"arm": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))})
    for value, words in [
        ({"arm": [1]}, "arm: 1 items where 2"),
        ({"leg": []}, r"the keys \['arm'\] is expected"),
        ({"arm": [1, {}]}, "arm/1: an object where"),
        ([], "an object with the keys"),
    ]:
        with pytest.raises(errors.WireError, match=words):
            sample_from_json(space, value)
