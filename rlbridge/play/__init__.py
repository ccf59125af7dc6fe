"""Playing a policy, without torch: encoded observations, actions in the environment's units, whole episodes."""

from rlbridge.play.actions import Actions, Choices, Ranges, actions_of
from rlbridge.play.encoding import Encoder, UnsupportedSpace
from rlbridge.play.evaluate import Actor, Evaluation, evaluate
from rlbridge.play.space_state import space_from_state, space_to_state

__all__ = [
    "Actions",
    "Actor",
    "Choices",
    "Encoder",
    "Evaluation",
    "Ranges",
    "UnsupportedSpace",
    "actions_of",
    "evaluate",
    "space_from_state",
    "space_to_state",
]
