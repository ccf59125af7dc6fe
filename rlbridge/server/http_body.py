"""Reading a request's body, within the limits: of size, of time, of what gzip may unfold to."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Receive

from rlbridge.server.http_errors import HttpError
from rlbridge.wire.errors import MessageTooLarge, Unavailable, Unimplemented, WireError

BODY_SECONDS = 60.0  # that a peer may take between two pieces of a body
_GZIP = 16 + zlib.MAX_WBITS


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body, unpacked where it came with ``Content-Encoding: gzip``.

    Args:
        limit: bytes, of the body as sent and as unpacked.

    Raises:
        MessageTooLarge: more than ``limit`` bytes; no more than that is ever held.
        WireError: no gzip where gzip was said.
        HttpError: 408 for a peer that stops in the middle, 501 for another encoding.
        Unavailable: the peer hung up.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        what = Unimplemented(f"a body encoded as {encoding[:40]!r}; this server reads gzip and identity")
        raise HttpError(501, what, {"Accept-Encoding": "gzip, identity"})
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(declared, limit)
    body = bytearray()
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    received, more = 0, True
    while more:
        piece, more = await _next(receive)
        received += len(piece)
        if received > limit:
            raise _too_large(f"more than {limit}", limit)
        body += piece if unpacker is None else _unpacked(unpacker, piece, limit + 1 - len(body))
        if len(body) > limit:
            raise _too_large(f"more than {limit} (unpacked)", limit)
    if unpacker is not None and received and not unpacker.eof:
        raise WireError("the body ends in the middle of its gzip stream")
    return bytes(body)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    try:
        message = await asyncio.wait_for(receive(), BODY_SECONDS)
    except asyncio.TimeoutError:
        late = Unavailable(f"the rest of the body did not come within {BODY_SECONDS:g} s")
        raise HttpError(408, late, {"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise Unavailable("the client hung up in the middle of its request")
    return message.get("body", b""), message.get("more_body", False)


def _unpacked(unpacker: zlib._Decompress, piece: bytes, room: int) -> bytes:
    """At most ``room`` bytes: a few packed ones may unfold to gigabytes."""
    try:
        return unpacker.decompress(piece, max(room, 1))
    except zlib.error as error:
        raise WireError(f"the body is no gzip ({error})") from None


def _too_large(size: object, limit: int) -> MessageTooLarge:
    return MessageTooLarge(
        f"the request has {size} bytes, this server's limit is {limit}. Serve with a larger --max-message-mib, or send "
        "less at a time.",
        size=size,
        limit=limit,
        side="server",
    )
