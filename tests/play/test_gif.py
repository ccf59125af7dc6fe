"""An episode as a GIF: local and remote, in bounds, or a reason why not."""

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image, ImageSequence

import rlbridge
from rlbridge.play import CannotRender, Encoder, SpacesDiffer, actions_of, evaluate, gif, record
from tests.envs import Counter


class Constant:
    """Always the same action, for environments of one kind."""

    def __init__(self, env, action=2):
        self.encoder, self.actions = Encoder(env.observation_space), actions_of(env.action_space)
        self.action = action

    def act(self, observation, deterministic=False):
        batched = self.encoder.is_batch(observation)
        return np.full(len(observation), self.action) if batched else np.int64(self.action)


class Large(Counter):
    def render(self):
        return np.zeros((700, 1000, 4), np.uint8)


class Wrong(Counter):
    def render(self):
        return np.zeros((4, 4), np.float64)


class Endless(Counter):
    def step(self, action):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, False, False, info

    def render(self):
        return np.full((4, 6, 3), self.steps % 256, np.uint8)


def greys(path):
    return [int(np.asarray(frame.convert("RGB")).max()) for frame in ImageSequence.Iterator(Image.open(path))]


def test_every_frame_of_an_episode_is_there(tmp_path):
    total, steps = record(Constant(Counter()), partial(Counter, length=5), seed=0, file=tmp_path / "a.gif")
    assert (total, steps) == (10.0, 5)
    assert greys(tmp_path / "a.gif") == [0, 1, 2, 3, 4, 5]
    assert Image.open(tmp_path / "a.gif").info["duration"] == 140  # its render_fps is 7, GIF counts hundredths
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize("bind", ["grpc://127.0.0.1:0", "http://127.0.0.1:0"])
def test_a_remote_environment_gives_the_same_picture(serve, tmp_path, bind):
    policy = Constant(Counter())
    record(policy, partial(rlbridge.make, "tests.envs:Counter"), seed=3, file=tmp_path / "local.gif")
    server = serve("tests.envs:Counter", bind=bind)
    record(policy, partial(rlbridge.make, server.urls[0]), seed=3, file=tmp_path / "remote.gif")
    assert (tmp_path / "remote.gif").read_bytes() == (tmp_path / "local.gif").read_bytes()


def test_it_is_the_first_episode_of_the_evaluation(tmp_path):
    make = partial(rlbridge.make, "CartPole-v1")
    policy = Constant(make(), action=1)
    total, steps = record(policy, make, seed=11, file=tmp_path / "a.gif")
    envs = rlbridge.make_vec("CartPole-v1", 3)
    assert evaluate(policy, envs, 6, seed=11).returns[0] == total == steps


def test_a_long_episode_is_shown_whole_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(gif, "MAX_FRAMES", 40)
    record(Constant(Counter()), partial(Counter, length=250), seed=0, file=tmp_path / "a.gif")
    shown = greys(tmp_path / "a.gif")
    assert 20 <= len(shown) <= 40
    assert (shown[0], shown[-1]) == (0, 250)
    assert set(np.diff(shown)[:-1]) == {8}
    assert Image.open(tmp_path / "a.gif").info["duration"] == pytest.approx(8 * 1000 / 7, abs=10)


def test_large_frames_are_scaled_down(tmp_path):
    record(Constant(Counter()), Large, seed=0, file=tmp_path / "a.gif")
    assert Image.open(tmp_path / "a.gif").size == (320, 224)


def test_an_episode_without_an_end_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(gif, "MAX_STEPS", 30)
    assert record(Constant(Counter()), Endless, seed=0, file=tmp_path / "a.gif") == (60.0, 30)


def test_who_cannot_render_is_told_what_there_is(serve, tmp_path):
    class Text(Counter):
        metadata = {"render_modes": ["ansi", "human"]}

    class Deaf(Counter):
        def __init__(self):
            super().__init__()

    class Bare(Counter):
        def render(self):
            raise gymnasium.error.DependencyNotInstalled("pip install pygame")

    policy = Constant(Counter())
    for make, words in [
        (Bare, "cannot draw itself: pip install pygame"),
        (Text, "this one renders: ansi, human"),
        (Deaf, "made without a render_mode"),
        (Wrong, r"render\(\) gave float64\[4, 4\]"),
        (partial(rlbridge.make, serve("tests.envs:Continuous").urls[0]), "this one renders: nothing"),
    ]:
        with pytest.raises(CannotRender, match=words):
            record(policy, make, seed=0, file=tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_policy_for_other_spaces_is_not_filmed(tmp_path):
    with pytest.raises(SpacesDiffer, match=r"the policy's observations are Box.*, the environment's are Box.*4\.8"):
        record(Constant(Counter()), partial(gymnasium.make, "CartPole-v1"), seed=0, file=tmp_path / "a.gif")


def test_observations_may_have_other_bounds_actions_may_not(tmp_path):
    class Other(Counter):
        def __init__(self, high=np.inf, start=0, render_mode=None):
            super().__init__(render_mode=render_mode)
            self.observation_space = spaces.Box(-np.inf, high, (2,), np.float64)
            self.action_space = spaces.Discrete(3, start=start)

    record(Constant(Counter()), partial(Other, high=1000.0), seed=0, file=tmp_path / "a.gif")
    with pytest.raises(SpacesDiffer, match=r"actions are Discrete\(3\), the environment's are Discrete\(3, start=1\)"):
        record(Constant(Counter()), partial(Other, start=1), seed=0, file=tmp_path / "a.gif")
