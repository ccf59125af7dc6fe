"""An episode as a moving picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rlbridge.play.evaluate import Player
from rlbridge.play.fit import require_fit

MAX_FRAMES = 200
MAX_SIDE = 320
"""Pixels of the longer side; larger frames are scaled down."""
MAX_STEPS = 10_000
"""An episode that does not end is left here."""


class CannotRender(ValueError):
    """The environment gives no pictures; names the modes it has."""


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
    _require_pillow()
    env = _open(make)
    try:
        require_fit(policy, env.observation_space, env.action_space)
        observation, _ = env.reset(seed=seed)
        frames, every, total, steps, over = [_picture(env)], 1, 0.0, 0, False
        while not over and steps < MAX_STEPS:
            check()
            observation, reward, terminated, truncated, _ = env.step(policy.act(observation, deterministic=True))
            total, steps, over = total + float(reward), steps + 1, bool(terminated or truncated)
            if steps % every == 0 or over:
                frames.append(_picture(env))
            if len(frames) > MAX_FRAMES:
                frames, every = frames[::2], every * 2
        _write(frames, Path(file), every / _frames_per_second(env))
        return total, steps
    finally:
        env.close()


def _open(make: Callable[..., gymnasium.Env[Any, Any]]) -> gymnasium.Env[Any, Any]:
    plain = make()
    modes = [str(mode) for mode in (plain.metadata or {}).get("render_modes", [])]
    plain.close()
    if "rgb_array" not in modes:
        raise CannotRender(
            f"a GIF needs an environment that renders 'rgb_array'; this one renders: {', '.join(modes) or 'nothing'}."
        )
    try:
        return make(render_mode="rgb_array")
    except TypeError as error:
        raise CannotRender(
            f"the environment is made without a render_mode, so it gives no pictures: {error}"
        ) from error


def _picture(env: gymnasium.Env[Any, Any]) -> Any:
    """The environment as it looks now, in 256 colours, no side longer than MAX_SIDE."""
    from PIL import Image

    try:
        frame: NDArray[Any] = np.asarray(env.render())
    except gymnasium.error.DependencyNotInstalled as error:
        raise CannotRender(f"the environment cannot draw itself: {error}") from error
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (3, 4)):
        raise CannotRender(
            f"render() gave {frame.dtype}{list(frame.shape)}; a picture is uint8, [height, width, 3 colours]."
        )
    picture = Image.fromarray(frame if frame.ndim == 2 else np.ascontiguousarray(frame[..., :3]))
    # The finer filters and palettes take ten times as long, and a GIF shows little of them.
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
    return picture.quantize(method=Image.Quantize.FASTOCTREE) if picture.mode == "RGB" else picture


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


def _frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    stated = (env.metadata or {}).get("render_fps")
    return float(stated) if isinstance(stated, (int, float)) and 1 <= stated <= 1000 else 30.0


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise ModuleNotFoundError("a GIF needs Pillow: pip install 'rlbridge-toolkit[play]'", name="PIL") from None
