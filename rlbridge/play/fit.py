"""Whether a policy and an environment belong together."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from rlbridge.play.encoding import Encoder
from rlbridge.play.evaluate import Player


class SpacesDiffer(ValueError):
    """A policy cannot act in this environment; names both spaces."""


def require_fit(policy: Player, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Raise SpacesDiffer unless ``policy`` can act in an environment of these spaces.

    Observations must be encoded alike; bounds of a Box do not matter there. Actions must agree in everything,
    for their bounds are what the policy's numbers are scaled to.
    """
    mine = policy.encoder.space, policy.actions.space
    if not _encoded_alike(mine[0], observation_space):
        raise SpacesDiffer(
            f"the policy's observations are {mine[0]}, the environment's are {observation_space}: they do not fit."
        )
    if mine[1] != action_space:
        raise SpacesDiffer(
            f"the policy's actions are {mine[1]}, the environment's are {action_space}: they do not fit."
        )


def _encoded_alike(mine: spaces.Space[Any], theirs: spaces.Space[Any]) -> bool:
    if isinstance(mine, spaces.Box) and isinstance(theirs, spaces.Box):
        return mine.shape == theirs.shape and Encoder(mine).dtype == Encoder(theirs).dtype
    if isinstance(mine, spaces.Dict) and isinstance(theirs, spaces.Dict):
        return list(mine) == list(theirs) and all(_encoded_alike(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, spaces.Tuple) and isinstance(theirs, spaces.Tuple):
        return len(mine) == len(theirs) and all(map(_encoded_alike, mine, theirs))
    return mine == theirs
