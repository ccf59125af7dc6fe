"""What a client shows a server, and what it wants to see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


class CredentialsError(ValueError):
    """A token or TLS file cannot be read, or an unknown key was given."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """A bearer token and the PEM files of TLS; each may be absent.

    What is not given is taken from the environment: ``RLBRIDGE_TOKEN`` (the token itself), ``RLBRIDGE_TOKEN_FILE``,
    ``RLBRIDGE_TLS_CA``, ``RLBRIDGE_TLS_CERT``, ``RLBRIDGE_TLS_KEY`` (paths).

    Attributes:
        token_file: a file that holds the token alone, or a server's token file, whose first token is taken.
        tls_ca: who must have signed the server's certificate; absent: the system's authorities.
        tls_cert, tls_key: this client's own, where the server wants one (mutual TLS).
    """

    token_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({', '.join(field.name for field in fields(self) if getattr(self, field.name))})"

    @classmethod
    def of(cls, given: Credentials | Mapping[str, Any] | None) -> Credentials:
        """From what a user wrote, completed from the environment.

        Raises:
            CredentialsError: an unknown key.
        """
        if isinstance(given, Mapping):
            known = [field.name for field in fields(cls)]
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise CredentialsError(f"unknown credentials {', '.join(unknown)}; known: {', '.join(known)}")
            given = cls(**given)
        given = given or cls()
        return cls(
            **{
                field.name: getattr(given, field.name) or os.environ.get(f"RLBRIDGE_{field.name.upper()}") or None
                for field in fields(cls)
            }
        )

    def token(self) -> str | None:
        """The token, from its file or from ``RLBRIDGE_TOKEN``; None without either.

        Raises:
            CredentialsError: the file cannot be read or is empty.
        """
        if self.token_file is None:
            return os.environ.get("RLBRIDGE_TOKEN") or None
        lines = _read(self.token_file).decode(errors="replace").splitlines()
        words = [words for line in lines if (words := line.split("#")[0].split())]
        if not words:
            raise CredentialsError(f"the token file {self.token_file!r} holds no token")
        return words[0][-1]

    def tls(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The authority, this client's private key and its certificate chain, as PEM bytes.

        Raises:
            CredentialsError: a file cannot be read, or a certificate comes without its key.
        """
        if bool(self.tls_cert) != bool(self.tls_key):
            raise CredentialsError("tls_cert and tls_key belong together: give both or neither")
        files = (self.tls_ca, self.tls_key, self.tls_cert)
        ca, key, cert = (_read(path) if path else None for path in files)
        return ca, key, cert


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CredentialsError(f"cannot read {path!r}: {error.strerror}") from error
