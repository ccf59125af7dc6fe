"""What Gymnasium calls things, from 0.28 on: environments of old stacks are served, too.

The server half runs with 0.28 and later; clients, batches and trainers need 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import gymnasium
from gymnasium import spaces

if TYPE_CHECKING:
    from gymnasium.spaces import OneOf
    from gymnasium.vector import AutoresetMode, VectorEnv

    MODERN = True
else:
    try:
        from gymnasium.vector import AutoresetMode, VectorEnv

        MODERN = True
    except ImportError:  # before 1.1
        from enum import Enum

        MODERN = False
        _Observation, _Action, _Array = TypeVar("_Observation"), TypeVar("_Action"), TypeVar("_Array")

        class AutoresetMode(Enum):
            """Gymnasium's own, which this version does not have yet."""

            NEXT_STEP = "NextStep"
            SAME_STEP = "SameStep"
            DISABLED = "Disabled"

        class VectorEnv(Generic[_Observation, _Action, _Array]):
            """Stands in for Gymnasium's, which in this version reports the end of an episode in another way."""

            def close(self, **kwargs: Any) -> None:
                self.close_extras(**kwargs)

    OneOf = getattr(spaces, "OneOf", ())


def multi_discrete_start(space: spaces.MultiDiscrete) -> Any:
    """[*nvec.shape] the smallest values; Gymnasium before 1.0 knows none but zeros."""
    return getattr(space, "start", 0 * space.nvec)


class OldGymnasium(ImportError):
    """The Gymnasium that is installed is too old for this."""


def needs_modern(what: str) -> None:
    """Refuse what an old Gymnasium cannot do.

    Raises:
        OldGymnasium: names both versions.
    """
    if not MODERN:
        raise OldGymnasium(
            f"{what} needs Gymnasium 1.1 or later, and {gymnasium.__version__} is installed. With this one rlbridge "
            "serves environments, one by one or in rows."
        )


__all__ = ["MODERN", "AutoresetMode", "OldGymnasium", "OneOf", "VectorEnv", "multi_discrete_start", "needs_modern"]
