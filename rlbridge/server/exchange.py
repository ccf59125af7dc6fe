"""The host's end of one stream of requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rlbridge.server.failure import FAILURES
from rlbridge.server.session import Request, Response, Session, error_response
from rlbridge.wire.errors import BridgeError, WireError

if TYPE_CHECKING:
    from rlbridge.server.host import Host

log = logging.getLogger("rlbridge.server")


class Exchange:
    """It remembers the session that the latest request named."""

    def __init__(self, host: Host, end: Callable[[], object] | None = None) -> None:
        self._host = host
        self._end = end
        self._session: Session | None = None
        self._attachment = 0
        self._began, self._idle = time.monotonic(), False
        if end is not None:
            host.watch(self)

    def useless(self, now: float) -> bool:
        """Whether nothing can come of this stream any more; asked every now and then.

        A client that has just resumed may go on over the stream it has. So one that has a session is useless only if no
        request has come since this was asked before.
        """
        if self._session is None:
            return now - self._began > self._host.limits.silent_seconds
        idle, self._idle = self._idle, True
        return idle and (self._session.closed or self._session.attachment != self._attachment)

    def end(self) -> None:
        """End the stream from this side."""
        self.close()
        if self._end is not None:
            self._end()

    def close(self) -> None:
        """The stream has ended. Idempotent."""
        self._host.forget(self)

    @property
    def attached(self) -> bool:
        """Whether a request has named a session yet."""
        return self._session is not None

    def execute(self, request: Request) -> Response:
        """Answer one request; an error is an answer, never an exception."""
        seq, self._idle = 0, False
        self._host.used(self)
        try:
            kind = request.WhichOneof("request")
            if kind is None:
                raise WireError("a request has no kind; the peer may speak a newer protocol")
            body: Any = getattr(request, kind)
            seq = body.seq
            if body.HasField("session") or self._session is None or body.epoch != self._host.epoch:
                self._session = self._host.session(body.session, body.epoch)
                self._attachment = body.session.attachment
            return self._session.execute(request, body, self._attachment)
        except BridgeError as error:
            return error_response(error, seq)
        except FAILURES as error:
            log.exception("a request failed inside the server")
            return error_response(BridgeError(f"the server failed: {type(error).__name__}: {error}"), seq)
