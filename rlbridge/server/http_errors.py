"""What an error is in HTTP: a status, and one of the Connect protocol's words.

Source: https://connectrpc.com/docs/protocol#error-codes
"""

from __future__ import annotations

from rlbridge.wire.errors import BridgeError

# google.rpc.Code's number -> the word, the status.
_CODES = {
    1: ("canceled", 499),
    2: ("unknown", 500),
    3: ("invalid_argument", 400),
    4: ("deadline_exceeded", 504),
    5: ("not_found", 404),
    6: ("already_exists", 409),
    7: ("permission_denied", 403),
    8: ("resource_exhausted", 429),
    9: ("failed_precondition", 400),
    10: ("aborted", 409),
    11: ("out_of_range", 400),
    12: ("unimplemented", 501),
    13: ("internal", 500),
    14: ("unavailable", 503),
    15: ("data_loss", 500),
    16: ("unauthenticated", 401),
}


def code_word(code: int) -> str:
    """Connect's word for a google.rpc code: ``invalid_argument`` for 3."""
    return _CODES.get(code, _CODES[2])[0]


def http_status(code: int) -> int:
    """The HTTP status that Connect gives a google.rpc code: 400 for 3."""
    return _CODES.get(code, _CODES[2])[1]


class HttpError(Exception):
    """A request that is wrong as HTTP before anything in it is: of another content type, to no path.

    Attributes:
        status: the HTTP status.
        error: what to say in the body.
        headers: to send with it.
    """

    def __init__(self, status: int, error: BridgeError, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(error))
        self.status, self.error, self.headers = status, error, headers or {}
