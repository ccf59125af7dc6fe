"""Where a target leads: the part of it that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from rlbridge.client.target import BadTarget, Target, is_remote, parse_target
from rlbridge.doctor.finding import Finding, Problem


@dataclass(frozen=True)
class Place:
    """A parsed target, taken apart.

    Attributes:
        target: the whole.
        scheme: ``grpc``, ``grpcs``, ``unix``, ``shm``, ``http`` or ``https``.
        host, port: for TCP; "" and 0 otherwise.
        path: of a unix socket; "" otherwise.
    """

    target: Target
    scheme: str
    host: str
    port: int
    path: str

    @property
    def grpc(self) -> bool:
        """Whether gRPC is what should be spoken there; else HTTP/1.1, or ``shared_memory``."""
        return self.scheme not in ("http", "https", "shm")

    @property
    def shared_memory(self) -> bool:
        """Whether the two sides share memory, and speak in frames of rlbridge's own."""
        return self.scheme == "shm"

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    def with_scheme(self, scheme: str) -> str:
        """The same target under another scheme, for advice."""
        return f"{scheme}://{self.target.text.partition('://')[2]}"


def read_target(text: str) -> tuple[Place, Finding]:
    """Take a target string apart.

    Raises:
        Problem: it is none, or names an environment in this process.
    """
    if not is_remote(text):
        raise Problem(
            "target",
            f"not a server: {text!r} has no scheme, so it names an environment in this process",
            "Give the URL that `rlbridge serve` printed, such as grpc://127.0.0.1:50051.",
        )
    try:
        target = parse_target(text)
    except BadTarget as error:
        raise Problem(
            "target", f"not a target: {error}", "Write it as `rlbridge serve` printed it, such as grpc://HOST:PORT."
        ) from error
    scheme = urlsplit(text).scheme
    if target.address.startswith("unix:"):
        place = Place(target, scheme, "", 0, target.address.removeprefix("unix:"))
    else:
        host, _, port = target.address.rpartition(":")
        place = Place(target, scheme, host.strip("[]"), int(port), "")
    protocol = "shared memory" if place.shared_memory else "gRPC" if place.grpc else "HTTP/1.1"
    how = "a unix socket" if place.path else "TCP with TLS" if target.secure else "TCP, not encrypted,"
    environment = f"environment {target.environment!r}" if target.environment else "the first environment on offer"
    return place, Finding("target", "ok", f"{protocol} over {how} to {place}; {environment}")
