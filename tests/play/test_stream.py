"""Episodes told as they are played: their scores, and pictures that stay small and rare."""

import base64
import io
import time
from functools import partial

import gymnasium
import numpy as np
import pytest
from PIL import Image

import rlbridge
from rlbridge.play import SpacesDiffer, stream
from rlbridge.play.stream import MAX_SIDE
from tests.envs import Continuous, Counter
from tests.play.test_gif import Constant


class Wide(Counter):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 200}

    def render(self):
        return np.zeros((500, 2000, 3), np.uint8)


class Undrawable(Counter):
    def render(self):
        raise gymnasium.error.DependencyNotInstalled("there is no pen\nmore of it")


def told(make, **options):
    lines = []
    stream(Constant(Counter()), make, 0, lines.append, **options)
    return lines


def test_each_episode_is_told_as_it_ends():
    assert told(partial(Counter, length=4), episodes=3) == [
        {"episode": n, "return": 8.0, "length": 4} for n in (1, 2, 3)
    ]


def test_without_a_number_it_goes_on_until_somebody_breaks_it_off():
    lines = []

    def tell(line):
        lines.append(line)
        if len(lines) == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(Constant(Counter()), Counter, 0, tell)
    assert lines[-1]["episode"] == 50


def test_pictures_are_scaled_down_and_no_more_than_asked_for():
    begun = time.monotonic()
    lines = told(partial(Wide, length=60), episodes=1, frames=10)
    took = time.monotonic() - begun
    frames = [line for line in lines if "frame" in line]
    assert took >= 60 / 200  # its own speed
    assert 2 <= len(frames) <= took * 10 + 1
    picture = Image.open(io.BytesIO(base64.b64decode(frames[-1]["frame"])))
    assert (picture.format, picture.size) == ("JPEG", (MAX_SIDE, MAX_SIDE // 4))
    assert frames[0]["episode"] == 1
    assert (frames[0]["step"], frames[0]["return"]) == (0, 0.0)
    assert frames[-1]["return"] == 2.0 * frames[-1]["step"] > 0
    assert lines[-1] == {"episode": 1, "return": 120.0, "length": 60}


@pytest.mark.parametrize("bind", ["grpc://127.0.0.1:0", "http://127.0.0.1:0"])
def test_a_remote_environment_is_shown_too(serve, bind):
    url = serve("tests.envs:Counter", bind=bind).urls[0]
    lines = told(partial(rlbridge.make, url), episodes=2, frames=30)
    assert "frame" in lines[0]
    assert [line["return"] for line in lines if "length" in line] == [10.0, 10.0]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Undrawable, "the environment cannot draw itself: there is no pen"),
        (lambda render_mode=None: Counter() if render_mode is None else 1 / 0, "does not open for pictures"),
        (lambda: Counter(), "made without a render_mode"),
    ],
)
def test_where_there_are_no_pictures_it_says_so_once_and_plays(make, why):
    first, *rest = told(make, episodes=2, frames=10)
    assert list(first) == ["no_frames"]
    assert why in first["no_frames"]
    assert "\n" not in first["no_frames"]
    assert [line["return"] for line in rest] == [10.0, 10.0]


def test_a_policy_for_other_spaces_is_not_played():
    with pytest.raises(SpacesDiffer):
        told(Continuous, episodes=1)
