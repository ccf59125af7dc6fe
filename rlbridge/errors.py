"""Every exception that a user of environments may want to catch, in one place."""

from rlbridge.client.credentials import CredentialsError
from rlbridge.client.session import ForkedProcess, RequestPending
from rlbridge.client.target import BadTarget
from rlbridge.entry_point import UnknownFactory
from rlbridge.server.auth import AuthFileError
from rlbridge.server.grpc_server import PortTaken
from rlbridge.server.serve import BindRefused
from rlbridge.wire.errors import (
    BridgeError,
    CapacityExhausted,
    DeadlineExceeded,
    EnvLost,
    InvalidAction,
    InvalidPolicy,
    MessageTooLarge,
    NeedsReset,
    PermissionDenied,
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
    UnknownPolicy,
    Unsupported,
    WireError,
)

__all__ = [
    "AuthFileError",
    "BadTarget",
    "BindRefused",
    "BridgeError",
    "CapacityExhausted",
    "CredentialsError",
    "DeadlineExceeded",
    "EnvLost",
    "ForkedProcess",
    "InvalidAction",
    "InvalidPolicy",
    "MessageTooLarge",
    "NeedsReset",
    "PermissionDenied",
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
    "UnknownPolicy",
    "Unsupported",
    "WireError",
]
