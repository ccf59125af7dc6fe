"""An episode as a moving picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

from rlbridge.play.evaluate import Player
from rlbridge.play.fit import require_fit
from rlbridge.play.picture import frames_per_second, open_drawn, picture, require_pillow

MAX_FRAMES = 200
MAX_SIDE = 320
"""Pixels of the longer side; larger frames are scaled down."""
MAX_STEPS = 10_000
"""An episode that does not end is left here."""


def record(
    policy: Player,
    make: Callable[..., gymnasium.Env[Any, Any]],
    seed: int,
    file: str | Path,
    check: Callable[[], None] = lambda: None,
) -> tuple[float, int]:
    """Play one deterministic episode and write it as a GIF, in one move.

    A long episode is shown whole, with fewer frames a second: at most ``MAX_FRAMES``, at most ``MAX_SIDE`` pixels
    wide or high. With an evaluation's seed it is that evaluation's first episode.

    Args:
        policy: acts deterministically.
        make: makes the environment, local or remote; is called with ``render_mode="rgb_array"``.
        seed: of the environment's reset.
        file: is written, or replaced.
        check: called before every step; may raise to break off.

    Returns:
        The episode's return and its length in steps.

    Raises:
        CannotRender: before anything is played, or at a frame that is no picture.
        SpacesDiffer: the policy is not for this environment.
        ModuleNotFoundError: Pillow is missing; says how to install it.
    """
    require_pillow()
    env = open_drawn(make)
    try:
        require_fit(policy, env.observation_space, env.action_space)
        observation, _ = env.reset(seed=seed)
        frames, every, total, steps, over = [_frame(env)], 1, 0.0, 0, False
        while not over and steps < MAX_STEPS:
            check()
            observation, reward, terminated, truncated, _ = env.step(policy.act(observation, deterministic=True))
            total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
            if steps % every == 0 or over:
                frames.append(_frame(env))
            if len(frames) > MAX_FRAMES:
                frames, every = frames[::2], every * 2
        _write(frames, Path(file), every / frames_per_second(env))
        return total, steps
    finally:
        env.close()


def _frame(env: gymnasium.Env[Any, Any]) -> Any:
    """The environment as it looks now, in 256 colours."""
    from PIL import Image

    drawn = picture(env, MAX_SIDE)
    # The finer palettes take ten times as long, and a GIF shows little of them.
    return drawn.quantize(method=Image.Quantize.FASTOCTREE) if drawn.mode == "RGB" else drawn


def _write(frames: list[Any], file: Path, seconds: float) -> None:
    # Browsers show frames of less than 20 ms at their leisure.
    draft = file.with_name(f".{file.name}.draft-{os.getpid()}")
    milliseconds = max(20, round(seconds * 1000))
    try:
        frames[0].save(
            draft, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=False
        )
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)
