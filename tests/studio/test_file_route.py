"""Files of runs for the browser: those on the list, and nothing else, however it is asked for."""

import asyncio
import os
from urllib.parse import unquote

import pytest
from fastapi import FastAPI

from rlbridge.studio.files import add_files
from tests.studio.simulated import make_workshop

LISTED = {
    "policy.onnx", "policy.json", "before.gif", "after.gif", "now.gif", "curve.png", "config.yaml", "metrics.jsonl",
    "episodes.csv", "log.txt",
}  # fmt: skip


class Asked:
    """What a browser would be answered. The path goes there as it is written, which a client's library would tidy up.

    Args:
        path: after ``/files/``.
        begun: called once the answer has begun.
    """

    def __init__(self, app, path, begun=lambda: None):
        self.status, self.headers, self.body = 0, {}, b""
        path = f"/files/{path}"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "headers": [],
            "root_path": "", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                begun()
            self.body += message.get("body", b"")

        asyncio.run(app(scope, receive, send))


@pytest.fixture
def studio(tmp_path):
    workshop = make_workshop(tmp_path)
    folder = workshop.runs.folder / "first"
    (folder / "checkpoints").mkdir(parents=True)
    for name in (*LISTED, "state.json", "lock", "stop"):
        (folder / name).write_text(f"this is {name}")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "policy.json").write_text("secret")
    app = FastAPI()
    add_files(app, workshop)
    return app, folder


def test_the_files_on_the_list_are_given_as_they_are(studio):
    app, _ = studio
    for name in LISTED:
        answer = Asked(app, f"first/{name}")
        assert (answer.status, answer.body.decode()) == (200, f"this is {name}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        saved = answer.headers.get("content-disposition", "")
        assert saved == ("" if name.endswith((".gif", ".png")) else f'attachment; filename="first-{name}"')


@pytest.mark.parametrize(
    "path",
    [
        "first/state.json",
        "first/lock",
        "first/checkpoints",
        "first/",
        "first/POLICY.ONNX",
        "second/policy.onnx",
        "../policy.json",
        "%2e%2e/policy.json",
        "..%2f/policy.json",
        "first/..%2f..%2fsecret",
        "first%2f..%2f../policy.json",
        "first/%2e%2e/%2e%2e/secret",
        ".launches/policy.json",
        "first/policy.json%00",
        "%00/policy.json",
    ],
)
def test_nothing_else_is(studio, path):
    app, _ = studio
    answer = Asked(app, path)
    assert answer.status == 404
    assert b"secret" not in answer.body


def test_no_link_is_followed(studio, tmp_path):
    app, folder = studio
    (folder / "policy.json").unlink()
    (folder / "policy.json").symlink_to(tmp_path / "secret")
    (folder / "log.txt").unlink()
    (folder / "log.txt").symlink_to(folder / "state.json")
    (folder.parent / "second").symlink_to(tmp_path)
    for path in ("first/policy.json", "first/log.txt", "second/policy.json"):
        assert Asked(app, path).status == 404


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_folder_or_a_pipe_is_no_file(studio):
    app, folder = studio
    (folder / "policy.json").unlink()
    (folder / "policy.json").mkdir()
    (folder / "log.txt").unlink()
    os.mkfifo(folder / "log.txt")
    assert Asked(app, "first/policy.json").status == 404
    assert Asked(app, "first/log.txt").status == 404


def test_a_file_that_grows_meanwhile_is_given_as_long_as_it_was(studio):
    app, folder = studio
    file = folder / "metrics.jsonl"
    before = file.read_bytes()
    answer = Asked(app, "first/metrics.jsonl", begun=lambda: file.write_bytes(before + b"more" * 100_000))
    assert answer.body == before
    assert answer.headers["content-length"] == str(len(before))
