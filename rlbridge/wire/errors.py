"""One exception class for each situation, the same on both sides of the wire.

A server raises one, ``encode_error`` turns it into an ``Error`` message, ``decode_error`` raises the same class in
the client. ``reason`` is for programs, the message for people; it says what happened, with the value and the limit,
and what to do.
"""

from __future__ import annotations

from typing import ClassVar

from rlbridge.v1 import env_pb2


class BridgeError(Exception):
    """Anything that goes wrong between a client and a server. Subclasses say what.

    Attributes:
        details: particulars by name (``leaf``, ``index``, ``expected``, ``limit``, ...), all strings.
        remote_traceback: the environment's own traceback, where the server is set to tell; else "".
    """

    code: ClassVar[int] = 13  # google.rpc.Code's number
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, remote_traceback: str = "", **details: object) -> None:
        super().__init__(message)
        self.details = {key: str(value) for key, value in details.items()}
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message}\n\nRemote traceback:\n{self.remote_traceback}" if self.remote_traceback else message


class WireError(BridgeError, ValueError):
    """Bytes or values that do not fit the contract: truncated, of the wrong size, nested too deep, of no known kind."""

    code = 3
    reason = "INVALID_REQUEST"


class InvalidPolicy(BridgeError, ValueError):
    """A policy is torn, hostile, too costly, or does not fit the session's spaces. Nothing of it was kept."""

    code = 3
    reason = "INVALID_POLICY"


class InvalidAction(BridgeError, ValueError):
    """The action does not fit the action space. The environment was not stepped and the session lives on."""

    code = 3
    reason = "INVALID_ACTION"


class DeadlineExceeded(BridgeError, TimeoutError):
    """No answer within the time allowed."""

    code = 4
    reason = "DEADLINE"


class UnknownEnvironment(BridgeError, LookupError):
    """The server does not offer an environment of that name."""

    code = 5
    reason = "UNKNOWN_ENVIRONMENT"


class UnknownPolicy(BridgeError, LookupError):
    """The session does not hold the policy that a rollout names."""

    code = 5
    reason = "UNKNOWN_POLICY"


class PermissionDenied(BridgeError, PermissionError):
    """The caller is known, and may not do this."""

    code = 7
    reason = "PERMISSION_DENIED"


class CapacityExhausted(BridgeError):
    """The server is full: sessions or sub-environments."""

    code = 8
    reason = "CAPACITY_EXHAUSTED"


class MessageTooLarge(BridgeError):
    """A message does not fit the limit of one of the two sides; both numbers are in the message."""

    code = 8
    reason = "MESSAGE_TOO_LARGE"


class ProtocolMismatch(BridgeError):
    """The other side speaks another protocol, or another version of this one."""

    code = 9
    reason = "PROTOCOL_MISMATCH"


class SequenceGap(BridgeError):
    """A request arrived whose predecessor did not."""

    code = 9
    reason = "SEQ_GAP"


class EnvLost(BridgeError):
    """The environment's state is gone: with the server that held it, or (SessionExpired) with its session."""

    code = 9
    reason = "EPOCH_CHANGED"


class SessionExpired(EnvLost):
    """The session is closed, its lease ran out, or it never was."""

    code = 5
    reason = "SESSION_EXPIRED"


class NeedsReset(BridgeError):
    """Step before the first reset, or after an error or an end that a reset must follow."""

    code = 9
    reason = "NEEDS_RESET"


class Unsupported(BridgeError):
    """This environment or server cannot do what was asked."""

    code = 9
    reason = "UNSUPPORTED"


class SequenceConflict(BridgeError):
    """Two different requests under one sequence number."""

    code = 10
    reason = "SEQ_CONFLICT"


class Superseded(BridgeError):
    """Another client has resumed this session."""

    code = 10
    reason = "SUPERSEDED"


class SequenceExpired(BridgeError):
    """A repeated request whose outcome the server no longer keeps."""

    code = 11
    reason = "SEQ_EXPIRED"


class Unimplemented(BridgeError):
    """The server does not have this call."""

    code = 12
    reason = "UNIMPLEMENTED"


class RemoteEnvError(BridgeError):
    """The environment raised an exception, or returned what its own spaces do not allow."""

    code = 13
    reason = "ENVIRONMENT_ERROR"


class Unavailable(BridgeError, ConnectionError):
    """Nothing answers at the target, or it is stopping."""

    code = 14
    reason = "SHUTTING_DOWN"


class Unauthenticated(BridgeError, PermissionError):
    """A token is missing or wrong."""

    code = 16
    reason = "UNAUTHENTICATED"


_BY_REASON: dict[str, type[BridgeError]] = {
    BridgeError.reason: BridgeError,
    SessionExpired.reason: SessionExpired,
    **{cls.reason: cls for cls in BridgeError.__subclasses__()},
}


def utf8(text: str) -> str:
    """The text with lone surrogates, which Python allows and UTF-8 does not, written out as escapes."""
    return text.encode(errors="backslashreplace").decode()


def encode_error(error: BridgeError) -> env_pb2.Error:
    """The message for an exception."""
    return env_pb2.Error(
        code=error.code,
        reason=error.reason,
        message=utf8(str(error.args[0])),
        details={utf8(key): utf8(value) for key, value in error.details.items()},
        remote_traceback=utf8(error.remote_traceback),
    )


def decode_error(message: env_pb2.Error) -> BridgeError:
    """The exception for a message. A reason from a newer server becomes a plain ``BridgeError`` that names it."""
    cls = _BY_REASON.get(message.reason)
    text = message.message or "the server gave no message"
    error = cls(text) if cls else BridgeError(f"{message.reason or 'unknown error'}: {text}")
    error.details = dict(message.details)
    error.remote_traceback = message.remote_traceback
    return error
