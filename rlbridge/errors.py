"""Every exception that a user of environments may want to catch, in one place."""

from rlbridge.client.session import ForkedProcess, RequestPending
from rlbridge.client.target import BadTarget
from rlbridge.entry_point import UnknownFactory
from rlbridge.server.grpc_server import PortTaken
from rlbridge.server.serve import BindRefused
from rlbridge.wire.errors import (
    BridgeError,
    CapacityExhausted,
    DeadlineExceeded,
    EnvLost,
    InvalidAction,
    MessageTooLarge,
    NeedsReset,
    ProtocolMismatch,
    RemoteEnvError,
    SequenceConflict,
    SequenceExpired,
    SequenceGap,
    SessionExpired,
    Superseded,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    UnknownEnvironment,
    Unsupported,
    WireError,
)

__all__ = [
    "BadTarget",
    "BindRefused",
    "BridgeError",
    "CapacityExhausted",
    "DeadlineExceeded",
    "EnvLost",
    "ForkedProcess",
    "InvalidAction",
    "MessageTooLarge",
    "NeedsReset",
    "PortTaken",
    "ProtocolMismatch",
    "RemoteEnvError",
    "RequestPending",
    "SequenceConflict",
    "SequenceExpired",
    "SequenceGap",
    "SessionExpired",
    "Superseded",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnknownEnvironment",
    "UnknownFactory",
    "Unsupported",
    "WireError",
]
