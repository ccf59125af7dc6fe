"""Playing a policy, without torch: encoded observations, actions in the environment's units, whole episodes, files."""

from rlbridge.play.actions import Actions, Choices, Ranges, actions_of
from rlbridge.play.description import Description
from rlbridge.play.encoding import Encoder, UnsupportedSpace
from rlbridge.play.evaluate import Actor, Evaluation, Player, evaluate
from rlbridge.play.fit import SpacesDiffer, require_fit
from rlbridge.play.gif import record
from rlbridge.play.onnx_file import PolicyFileError
from rlbridge.play.onnx_policy import OnnxPolicy
from rlbridge.play.picture import CannotRender
from rlbridge.play.space_state import space_from_state, space_to_state
from rlbridge.play.stream import stream

__all__ = [
    "Actions",
    "Actor",
    "CannotRender",
    "Choices",
    "Description",
    "Encoder",
    "Evaluation",
    "OnnxPolicy",
    "Player",
    "PolicyFileError",
    "Ranges",
    "SpacesDiffer",
    "UnsupportedSpace",
    "actions_of",
    "evaluate",
    "record",
    "require_fit",
    "space_from_state",
    "space_to_state",
    "stream",
]
