"""The page on which policies are played, filmed, exported and taken along."""

import asyncio
import base64
import io
import json
import os

import pytest
from nicegui import ui
from PIL import Image

from rlbridge.studio import player_view
from rlbridge.studio.player import Player
from tests.studio.simulated import element, is_there, make_workshop, studio_user, until

SECONDS = 90.0


@pytest.fixture
def players(monkeypatch):
    """What pages have started, in order; all are ended after the test."""
    started = []

    class Known(Player):
        def __init__(self, arguments):
            super().__init__(arguments)
            started.append(self)

    monkeypatch.setattr(player_view, "Player", Known)
    yield started
    for player in started:
        player.stop()


def gone(player):
    try:
        os.kill(player.pid, 0)
    except ProcessLookupError:
        return True
    return False


def on_the_page(workshop, path, act):
    """Open the page and do ``act(user)`` there."""

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open(path)
            await act(user)

    asyncio.run(scenario())


async def press(user, marker, happened):
    user.find(marker=marker).click()
    await until(happened, SECONDS)


def has_begun(user):
    return lambda: element(user, "player-status").text in ("starting", "playing", "finished")


def test_without_any_policy_it_says_where_they_come_from(tmp_path):
    async def act(user):
        await user.should_see("No run has a policy yet")
        assert not is_there(user, "play")

    on_the_page(make_workshop(tmp_path), "/models", act)


def test_episodes_are_played_and_their_scores_listed(workshop, players):
    async def act(user):
        element(user, "pictures").value = False
        element(user, "episodes-wanted").value = 3
        await press(user, "play", has_begun(user))
        await until(lambda: element(user, "player-status").text == "finished", SECONDS)
        rows = element(user, "episodes").rows
        assert [row["episode"] for row in rows] == [3, 2, 1]
        mean = sum(row["return"] for row in rows) / 3
        assert element(user, "player-figures").text.startswith(f"3 episodes: return {mean:.2f} ± ")
        assert not is_there(user, "frame")
        assert element(user, "play").enabled
        assert not element(user, "stop-playing").enabled

    on_the_page(workshop, "/models?run=pole", act)


def test_pictures_are_shown_until_it_is_stopped(workshop, players):
    async def act(user):
        element(user, "policy").value = "policy.onnx"
        element(user, "endless").value = True
        await press(user, "play", has_begun(user))
        await until(lambda: is_there(user, "frame"), SECONDS)
        shown = element(user, "frame").props["src"]
        kind, _, data = shown.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 640
        await until(lambda: element(user, "frame").props["src"] != shown, SECONDS)
        assert "step" in element(user, "frame-caption").text
        user.find(marker="stop-playing").click()
        await until(lambda: element(user, "player-status").text == "stopped", SECONDS)
        assert gone(players[0])

    on_the_page(workshop, "/models", act)


def test_a_page_that_is_closed_ends_its_player(workshop, players):
    async def act(user):
        element(user, "endless").value = True
        await press(user, "play", has_begun(user))
        await until(lambda: players and element(user, "player-status").text == "playing", SECONDS)
        user.client.delete()
        await until(lambda: gone(players[0]), SECONDS)

    on_the_page(workshop, "/models", act)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("os:system", "names code, which no page may have run"),
        ("--gif=/tmp/x", "is no registered Gymnasium environment"),
        ("CartPole-v77", "is no registered Gymnasium environment"),
    ],
)
def test_a_target_that_no_page_may_name_is_refused_beside_its_field(workshop, players, target, words):
    async def act(user):
        element(user, "target").value = target
        for button in ("play", "film"):
            element(user, "target").error = None
            await press(user, button, lambda: element(user, "target").error)
            assert words in element(user, "target").error
            await until(lambda: element(user, "play").enabled)
        element(user, "target").value = ""
        assert element(user, "target").error is None
        assert not players

    on_the_page(workshop, "/models", act)


def test_where_a_policy_does_not_fit_or_nobody_answers_it_says_so(workshop, players):
    async def act(user):
        for target, words in (("Acrobot-v1", "they do not fit"), ("grpc://127.0.0.1:1", "nothing answers at")):
            element(user, "target").value = target
            await press(user, "play", lambda: not element(user, "play").enabled)
            await until(lambda: is_there(user, "player-problem"), SECONDS)
            await until(lambda: words in element(user, "player-problem").text, SECONDS)  # noqa: B023
            assert element(user, "player-status").text == "failed"

    on_the_page(workshop, "/models", act)


def test_a_number_of_episodes_is_needed(workshop, players):
    async def act(user):
        for wrong in (None, 0, 10**9):
            element(user, "episodes-wanted").value = wrong
            element(user, "episodes-wanted").error = None
            await press(user, "play", lambda: element(user, "episodes-wanted").error)
            await until(lambda: element(user, "play").enabled)
        assert not players

    on_the_page(workshop, "/models", act)


def test_a_policy_is_filmed_and_shown_beside_the_others(workshop):
    folder = workshop.runs.path("pole")
    (folder / "before.gif").write_bytes(b"GIF89a")

    async def act(user):
        await until(lambda: is_there(user, "film-before"))
        assert not is_there(user, "film-now")
        await press(user, "film", lambda: not element(user, "film").enabled)
        await until(lambda: is_there(user, "film-now"), SECONDS)
        assert (folder / "now.gif").read_bytes().startswith(b"GIF89a")
        picture = element(user, "film-now")
        assert picture.props["src"].startswith("/files/pole/now.gif?")
        assert "pole" in picture.props["alt"]
        await until(lambda: element(user, "film").enabled)

    on_the_page(workshop, "/models", act)


def test_a_policy_is_exported_and_offered_for_download(workshop):
    folder = workshop.runs.path("pole")
    (folder / "policy.onnx").unlink()
    (folder / "policy.json").unlink()

    async def act(user):
        await until(lambda: is_there(user, "policy-file"))
        assert not is_there(user, "download-policy.onnx")
        element(user, "policy").value = "best"
        await press(user, "export", lambda: not element(user, "export").enabled)
        await until(lambda: is_there(user, "download-policy.onnx"), SECONDS)
        assert json.loads((folder / "policy.json").read_text())["algorithm"] == "ppo"
        assert element(user, "download-policy.json").props["href"] == "/files/pole/policy.json"
        assert "policy.onnx: categorical, ppo after" in element(user, "policy-file").text

    on_the_page(workshop, "/models", act)


def test_the_page_of_a_run_plays_one_episode_of_its_last_checkpoint(workshop, players):
    async def act(user):
        await until(lambda: is_there(user, "file-policy.onnx"))
        assert element(user, "file-policy.onnx").props["href"] == "/files/pole/policy.onnx"
        await press(user, "play", has_begun(user))
        await until(lambda: element(user, "player-status").text == "finished", SECONDS)
        assert element(user, "player-figures").text.startswith("1 episodes: ")
        assert is_there(user, "frame")

    on_the_page(workshop, "/run/pole", act)


def test_it_speaks_chinese(workshop):
    async def act(user):
        user.http_client.headers["accept-language"] = "zh-CN"
        await user.open("/models")
        await user.should_see("播放")
        assert {select.props["label"] for select in user.find(ui.select).elements} >= {"运行", "策略"}

    on_the_page(workshop, "/models", act)
