"""The process that plays a policy: what is known of it, and that nothing of it stays."""

import base64
import io
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from rlbridge.studio.player import Player, stream_arguments
from rlbridge.studio.policies import evaluate_arguments, policies_of, runs_with_policies
from tests.conftest import ROOT

SECONDS = 60.0


@pytest.fixture
def play(workshop):
    """Starts a player for a policy of the run; it is ended after the test."""
    started = []

    def start(policy="last", target=None, **how):
        what = evaluate_arguments(workshop.runs, "pole", policy, target)
        started.append(Player([*what, *stream_arguments(**how)]))
        return started[-1]

    yield start
    for player in started:
        player.stop()
        assert not player.alive


def looked(player, condition):
    """What it has come to once ``condition`` holds for it."""
    end = time.monotonic() + SECONDS
    while not condition(now := player.look()):
        assert time.monotonic() < end, now
        time.sleep(0.02)
    return now


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_policies_of_a_run_are_found(workshop):
    assert policies_of(workshop.runs.open("pole")) == ["last", "best", "512", "policy.onnx"]
    (workshop.runs.folder / "empty").mkdir()
    (workshop.runs.folder / "empty" / "config.yaml").write_text("{}")
    assert list(runs_with_policies(workshop.runs)) == ["pole"]


@pytest.mark.parametrize("policy", ["last", "policy.onnx"])
def test_episodes_are_counted_and_averaged(play, policy):
    now = looked(play(policy, episodes=3), lambda now: now.status == "finished")
    scores = [episode.score for episode in now.episodes]
    assert [episode.number for episode in now.episodes] == [1, 2, 3]
    assert all(episode.score == episode.length > 0 for episode in now.episodes)
    assert now.count == 3
    assert now.mean == pytest.approx(sum(scores) / 3)
    assert now.deviation == pytest.approx(math.sqrt(sum((score - now.mean) ** 2 for score in scores) / 3))
    assert (now.frame, now.no_frames, now.why) == ("", "", "")


def test_pictures_come_and_only_the_latest_is_kept(play):
    player = play(episodes=None, frames=20)
    first = looked(player, lambda now: now.frames >= 1)
    later = looked(player, lambda now: now.frames >= first.frames + 3)
    assert later.frame != first.frame
    assert max(Image.open(io.BytesIO(base64.b64decode(later.frame))).size) <= 640
    episode, step, score = later.now
    assert (episode, step) > first.now[:2]
    assert score == step


def test_it_goes_on_until_it_is_stopped_and_keeps_only_the_latest_episodes(play, monkeypatch):
    monkeypatch.setattr(sys.modules[Player.__module__], "KEPT", 20)
    player = play(episodes=None)
    now = looked(player, lambda now: now.count > 25)
    assert len(now.episodes) == 20
    assert now.episodes[-1].number == now.count
    player.stop()
    assert player.look().status == "stopped"
    assert gone(player.pid)


def test_one_that_does_not_listen_is_killed(play, tmp_path):
    (tmp_path / "deaf.py").write_text(
        "import signal, time\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Deaf(CartPoleEnv):\n"
        "    def reset(self, **options):\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"        open({str(tmp_path / 'deaf')!r}, 'w').close()\n"
        "        time.sleep(600)\n"
    )
    player = play(target=f"{tmp_path}/deaf.py:Deaf", episodes=None)
    looked(player, lambda now: (tmp_path / "deaf").exists())
    player.stop(seconds=0.5)
    assert gone(player.pid)


@pytest.mark.parametrize(
    ("target", "why"),
    [("grpc://127.0.0.1:1", "nothing answers at grpc://127.0.0.1:1"), ("Acrobot-v1", "they do not fit")],
)
def test_a_target_that_fails_is_explained(play, target, why):
    now = looked(play(target=target), lambda now: now.status == "failed")
    assert why in now.why
    assert not now.why.startswith("rlbridge:")


def test_without_pictures_there_are_scores_and_a_reason(play, tmp_path):
    (tmp_path / "bare.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Bare(CartPoleEnv):\n    metadata = {'render_modes': []}\n"
    )
    now = looked(play(target=f"{tmp_path}/bare.py:Bare", frames=5), lambda now: now.status == "finished")
    assert "this one renders: nothing" in now.no_frames
    assert (now.count, now.frames) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there it ends with the next line")
def test_it_does_not_outlive_whoever_started_it(workshop):
    what = evaluate_arguments(workshop.runs, "pole", "last")
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom rlbridge.studio.player import Player\nplayer = Player(sys.argv[1:])\n"
            "while not player.look().count:\n    time.sleep(0.05)\nprint(player.pid, flush=True)\ntime.sleep(600)",
            *what,
            *stream_arguments(episodes=None),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        pid = int(starter.stdout.readline())
        assert not gone(pid)
        starter.send_signal(signal.SIGKILL)
        end = time.monotonic() + 20
        while not gone(pid) and not _zombie(pid):
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        starter.kill()
        starter.wait(10)
        starter.stdout.close()


def _zombie(pid):
    """Dead, and nobody has looked: whoever took it over may be in no hurry."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
