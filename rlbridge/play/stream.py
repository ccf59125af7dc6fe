"""Episodes told as they are played: each one's score, and pictures in between."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from rlbridge.play.evaluate import Player
from rlbridge.play.fit import require_fit
from rlbridge.play.picture import CannotRender, frames_per_second, open_drawn, picture, require_pillow

MAX_SIDE = 640
"""Pixels of the longer side; larger pictures are scaled down."""
_QUALITY = 80
_BEHIND_SECONDS = 0.25

Tell = Callable[[Mapping[str, Any]], None]


def stream(
    policy: Player,
    make: Callable[..., gymnasium.Env[Any, Any]],
    seed: int,
    tell: Tell,
    *,
    episodes: int | None = None,
    frames: float = 0.0,
) -> None:
    """Play deterministic episodes, one after the other in one environment, and tell what happens.

    ``tell`` is called with

    - ``{"episode": 1, "return": 9.0, "length": 9}`` after each episode; its length counts steps;
    - ``{"frame": "...", "episode": 1, "step": 4, "return": 4.0}`` with a JPEG in Base64, no side longer than
      ``MAX_SIDE`` pixels, and what the episode under way has come to;
    - ``{"no_frames": "why"}`` once, if pictures are asked for and there are none: the episodes are played all the same.

    It is not called again before it has returned: who is slow to listen slows the playing down. With pictures, steps
    come no faster than the environment's ``render_fps`` (30 a second if it has none), so that they can be watched.

    Args:
        policy: acts deterministically.
        make: makes the environment, local or remote; called with ``render_mode="rgb_array"`` for pictures.
        seed: of the first reset; the later episodes go on from there.
        tell: takes what happens, of plain data; may raise to break off.
        episodes: how many; None = until something breaks it off.
        frames: at most so many pictures a second; 0 = none.

    Raises:
        SpacesDiffer: the policy is not for this environment.
        ModuleNotFoundError: Pillow is missing, and pictures are asked for; says how to install it.
    """
    env, camera = _open(make, tell, frames)
    try:
        require_fit(policy, env.observation_space, env.action_space)
        observation, _ = env.reset(seed=seed)
        episode = 1
        while episodes is None or episode <= episodes:
            total, steps, over = 0.0, 0, False
            camera.look(env, episode, steps, total)
            while not over:
                action = policy.act(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
                camera.look(env, episode, steps, total)
            tell({"episode": episode, "return": total, "length": steps})
            if episode != episodes:
                observation, _ = env.reset()
            episode += 1
    finally:
        env.close()


def _open(
    make: Callable[..., gymnasium.Env[Any, Any]], tell: Tell, frames: float
) -> tuple[gymnasium.Env[Any, Any], _Camera]:
    if frames <= 0:
        return make(), _Camera(tell, 0.0, 1.0)
    require_pillow()
    try:
        env = open_drawn(make)
    except CannotRender as error:
        tell({"no_frames": str(error)})
        return make(), _Camera(tell, 0.0, 1.0)
    return env, _Camera(tell, frames, frames_per_second(env))


class _Camera:
    """Tells what the environment looks like, at most ``rate`` times a second, and holds steps to ``speed`` a second."""

    def __init__(self, tell: Tell, rate: float, speed: float) -> None:
        self._tell, self._rate, self._speed = tell, rate, speed
        self._next_step = self._next_frame = time.monotonic()

    def look(self, env: gymnasium.Env[Any, Any], episode: int, steps: int, total: float) -> None:
        """After a reset and after each step."""
        if not self._rate:
            return
        now = time.monotonic()
        if now < self._next_step:
            time.sleep(self._next_step - now)
        self._next_step = max(self._next_step, now - _BEHIND_SECONDS) + 1.0 / self._speed
        now = time.monotonic()
        if now >= self._next_frame:
            self._next_frame = now + 1.0 / self._rate
            try:
                drawn = _jpeg(env)
            except Exception as error:  # whatever an environment's, or its server's, drawing may raise
                self._rate = 0.0
                first_line = str(error).partition("\n")[0]  # a server's error brings its traceback along
                self._tell({"no_frames": first_line or type(error).__name__})
            else:
                self._tell({"frame": drawn, "episode": episode, "step": steps, "return": total})


def _jpeg(env: gymnasium.Env[Any, Any]) -> str:
    file = io.BytesIO()
    picture(env, MAX_SIDE).save(file, format="JPEG", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")
