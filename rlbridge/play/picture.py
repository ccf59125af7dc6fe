"""What an environment looks like: whether it can be drawn, and a picture of it as it is now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray


class CannotRender(ValueError):
    """The environment gives no pictures; names the modes it has."""


def open_drawn(make: Callable[..., gymnasium.Env[Any, Any]]) -> gymnasium.Env[Any, Any]:
    """An environment that gives pictures: ``make(render_mode="rgb_array")``.

    Raises:
        CannotRender: it has no such mode, takes none, or fails when it is given it.
    """
    plain = make()
    modes = [str(mode) for mode in (plain.metadata or {}).get("render_modes", [])]
    plain.close()
    if "rgb_array" not in modes:
        raise CannotRender(
            "a picture needs an environment that renders 'rgb_array'; this one renders: "
            f"{', '.join(modes) or 'nothing'}."
        )
    try:
        return make(render_mode="rgb_array")
    except TypeError as error:
        raise CannotRender(
            f"the environment is made without a render_mode, so it gives no pictures: {error}"
        ) from error
    except Exception as error:  # its own, or its server's: it was opened without pictures a moment ago
        raise CannotRender(f"the environment does not open for pictures: {error}") from error


def picture(env: gymnasium.Env[Any, Any], side: int) -> Any:
    """The environment as it looks now, a ``PIL.Image`` in grey or RGB, no side longer than ``side`` pixels.

    Raises:
        CannotRender: what it gives is no picture.
    """
    from PIL import Image

    try:
        frame: NDArray[Any] = np.asarray(env.render())
    except gymnasium.error.DependencyNotInstalled as error:
        raise CannotRender(f"the environment cannot draw itself: {error}") from error
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (3, 4)):
        raise CannotRender(
            f"render() gave {frame.dtype}{list(frame.shape)}; a picture is uint8, [height, width, 3 colours]."
        )
    drawn = Image.fromarray(frame if frame.ndim == 2 else np.ascontiguousarray(frame[..., :3]))
    drawn.thumbnail((side, side), Image.Resampling.BILINEAR)  # the finer filters take ten times as long
    return drawn


def frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """How many steps a second the environment is meant to be shown at; 30 if it does not say."""
    stated = (env.metadata or {}).get("render_fps")
    return float(stated) if isinstance(stated, (int, float)) and 1 <= stated <= 1000 else 30.0


def require_pillow() -> None:
    """Raises ModuleNotFoundError where Pillow is missing; says how to install it."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise ModuleNotFoundError("a picture needs Pillow: pip install 'rlbridge-toolkit[play]'", name="PIL") from None
