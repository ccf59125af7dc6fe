"""The causes behind the errors of a link and a session, in the doctor's words."""

from __future__ import annotations

from rlbridge.doctor.finding import Problem
from rlbridge.wire.errors import (
    BridgeError,
    CapacityExhausted,
    DeadlineExceeded,
    MessageTooLarge,
    PermissionDenied,
    ProtocolMismatch,
    RemoteEnvError,
    Unauthenticated,
    Unavailable,
    UnknownEnvironment,
)


def refused(name: str, error: BridgeError, token_given: bool) -> Problem:
    """The problem that an error shows.

    Args:
        name: the examination it happened in.
        error: what the link or the session raised.
        token_given: whether this side has a token at all.
    """
    found, advice = _cause(error, token_given)
    return Problem(name, found, advice)


def _cause(error: BridgeError, token_given: bool) -> tuple[str, str]:
    text = str(error.args[0])
    if isinstance(error, Unauthenticated):
        if token_given:
            return "token wrong: it is none of this server's", (
                "Compare RLBRIDGE_TOKEN or the token file with the server's --token-file; a new token needs a restart."
            )
        return "token missing: the server wants one, and none is given", (
            "Set RLBRIDGE_TOKEN or RLBRIDGE_TOKEN_FILE, or give credentials token_file."
        )
    if isinstance(error, PermissionDenied):
        return "token scope too low: it allows observing, and a session needs one for control", (
            "Use a token that stands after 'control' in the server's token file."
        )
    if isinstance(error, CapacityExhausted):
        return f"server overloaded: {text}", (
            "Close sessions that nobody uses, wait for their leases to run out, or serve with higher limits or on more "
            "machines."
        )
    if isinstance(error, MessageTooLarge):
        size, limit, side = (error.details.get(key) for key in ("size", "limit", "side"))
        if size and limit:
            return f"message limit: a step can take {int(size):,} bytes, the {side}'s limit is {int(limit):,}", (
                "Serve with a larger --max-message-mib."
                if side == "server"
                else "Give make() a larger max_message_bytes."
            )
        return f"message limit: {text}", "Raise the limit of the side that refused, or send less."
    if isinstance(error, UnknownEnvironment):
        return f"unknown environment: {text}", "Use one of those names in the target, or none for the first."
    if isinstance(error, RemoteEnvError):
        return f"environment failed: {text}", (
            "Look at the server's log; the fault is in the environment, not in the connection."
        )
    if isinstance(error, ProtocolMismatch):
        return f"not an rlbridge server: {text}", "Check the port, and what is served there."
    if isinstance(error, DeadlineExceeded):
        return f"no answer in time: {text}", (
            "The server is overloaded or hangs: look at its log and at the load of its machine."
        )
    if isinstance(error, Unavailable):
        return f"connection lost: {text}", "Look at the server's log, and at what stands in between."
    return f"refused: {type(error).__name__}: {text}", "Look at the server's log."
