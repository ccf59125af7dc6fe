"""From a target string to an open session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlbridge.client.credentials import Credentials
from rlbridge.client.grpc_link import GrpcLink
from rlbridge.client.link import Link
from rlbridge.client.retry import Retry
from rlbridge.client.session import ClientSession
from rlbridge.client.shm_link import ShmLink
from rlbridge.client.target import Target, parse_target
from rlbridge.v1 import env_pb2
from rlbridge.wire import PROTOCOL_VERSION

DEFAULT_TIMEOUT = Retry().timeout
DEFAULT_RETRY_FOR = Retry().total
DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


GivenCredentials = Credentials | Mapping[str, Any] | None


def open_link(
    target: Target, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES, credentials: GivenCredentials = None
) -> Link:
    """The link that a target's scheme asks for. Nothing is sent yet.

    Raises:
        CredentialsError: a token or TLS file cannot be read.
        ModuleNotFoundError: the target is http(s) and the packages for that are not installed; names the command.
        Unsupported: the target is shm and this is not Linux.
    """
    if target.transport == "shm":
        return ShmLink(target, max_message_bytes, Credentials.of(credentials))
    if target.transport == "http":
        return _http_link_class()(target, max_message_bytes, Credentials.of(credentials))
    return GrpcLink(target, max_message_bytes, Credentials.of(credentials))


def _http_link_class() -> Callable[..., Link]:
    try:
        from rlbridge.client.http_link import HttpLink
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "websockets":
            raise
        raise ModuleNotFoundError(
            "http:// and https:// targets need the package websockets: pip install 'rlbridge-toolkit[http]'",
            name=error.name,
        ) from error
    return HttpLink


def open_session(
    target: str,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    retry_for: float = DEFAULT_RETRY_FOR,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    credentials: GivenCredentials = None,
    **options: Any,
) -> ClientSession:
    """Connect to a target and open a session there; ``options`` are those of ``ClientSession``.

    Args:
        target: a remote one.
        timeout: seconds allowed for one attempt at a call.
        retry_for: seconds during which an unanswered call is attempted again; 0: not at all.
        max_message_bytes: the largest message this side takes.
        credentials: token and TLS files, or a mapping with the fields of ``Credentials``.

    Raises:
        BadTarget: the string is no remote target.
        CredentialsError: a token or TLS file cannot be read.
        BridgeError: no server there, or it refuses; see ``ClientSession``.
    """
    parsed = parse_target(target)
    link = open_link(parsed, max_message_bytes, credentials)
    return ClientSession(
        link,
        parsed.text,
        environment=parsed.environment,
        retry=Retry(timeout=timeout, total=retry_for),
        max_message_bytes=max_message_bytes,
        **options,
    )


def describe(target: str, timeout: float = 10.0) -> tuple[env_pb2.DescribeResponse, env_pb2.SpacesResponse]:
    """What a server says of itself, and the spaces of the target's environment, without opening a session.

    Raises:
        BadTarget, BridgeError: as ``open_session``.
    """
    parsed = parse_target(target)
    link = open_link(parsed)
    try:
        server = link.call(env_pb2.DescribeRequest(protocol_versions=[PROTOCOL_VERSION]), timeout)
        return server, link.call(env_pb2.SpacesRequest(environment=parsed.environment), timeout)
    finally:
        link.close()
