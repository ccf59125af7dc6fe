"""Who may call: bearer tokens with scopes, and the files of TLS. The same for every transport."""

from __future__ import annotations

import enum
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlbridge.wire.errors import PermissionDenied, Unauthenticated


class Scope(enum.IntEnum):
    """What a token allows; the higher one includes the lower."""

    OBSERVE = 1  # describe, spaces, metrics
    CONTROL = 2  # sessions, and all that is done in them


# Calls that a token for observing is enough for; every other one needs CONTROL.
OBSERVING = frozenset({"Describe", "Spaces", "Metrics"})


class AuthFileError(ValueError):
    """A token or TLS file cannot be read, or holds something else; the message says which line."""


class Tokens:
    """The tokens of a server. Without any, every caller may do everything.

    Args:
        tokens: each with its scope.
    """

    def __init__(self, tokens: Mapping[str, Scope] | None = None) -> None:
        self._tokens = {token.encode(): scope for token, scope in (tokens or {}).items()}

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def __repr__(self) -> str:  # never the secrets themselves
        return f"Tokens({len(self._tokens)})"

    @classmethod
    def load(cls, path: str | Path) -> Tokens:
        """Read a token file: a line each, ``control TOKEN`` or ``observe TOKEN``; ``#`` begins a comment.

        Raises:
            AuthFileError: unreadable, readable by others, an unknown scope, a token shorter than 16 characters.
        """
        try:
            mode = os.stat(path).st_mode
            lines = Path(path).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AuthFileError(f"cannot read the token file {str(path)!r}: {error}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthFileError(f"the token file {str(path)!r} can be read by others: chmod 600 it")
        tokens: dict[str, Scope] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or words[0].upper() not in Scope.__members__ or len(words[1]) < 16:
                # Not quoted: the line may hold a secret.
                raise AuthFileError(
                    f"{str(path)!r}, line {number}: expected 'control TOKEN' or 'observe TOKEN', with at least 16 "
                    f"characters. A good one: {secrets.token_urlsafe(24)}"
                )
            tokens[words[1]] = Scope[words[0].upper()]
        if not tokens:
            raise AuthFileError(f"the token file {str(path)!r} holds no token")
        return cls(tokens)

    def check(self, authorization: str | None, call: str) -> None:
        """Let a call through, or not.

        Args:
            authorization: the header, ``Bearer TOKEN``.
            call: the RPC's name.

        Raises:
            Unauthenticated: no token, or none of these.
            PermissionDenied: a token for observing, where control is needed.
        """
        if not self._tokens:
            return
        kind, _, given = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not given:
            raise Unauthenticated(
                "this server wants a token. Set RLBRIDGE_TOKEN, or give token_file; over HTTP, the header "
                "'Authorization: Bearer TOKEN'."
            )
        scope = 0
        for token, allowed in self._tokens.items():  # all of them, always: the time taken tells nothing
            if hmac.compare_digest(token, given.strip().encode()):
                scope = allowed
        if not scope:
            raise Unauthenticated("the token is none of this server's")
        if scope < Scope.CONTROL and call not in OBSERVING:
            raise PermissionDenied("the token allows observing; this call needs one for control")


@dataclass(frozen=True)
class ServerTls:
    """PEM files of a server's TLS. With ``client_ca``, clients must show a certificate that it signed."""

    cert: str
    key: str
    client_ca: str | None = None

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """The certificate chain, the private key and the client CA.

        Raises:
            AuthFileError: a file is missing or no PEM.
        """
        return _pem(self.cert), _pem(self.key), _pem(self.client_ca) if self.client_ca else None


def _pem(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise AuthFileError(f"cannot read {path!r}: {error.strerror}") from error
    if b"-----BEGIN" not in content:
        raise AuthFileError(f"{path!r} is no PEM file")
    return content
