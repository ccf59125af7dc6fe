"""Reading gRPC's requests ourselves: grpcio answers bytes that are no message, and then never forgets the call.

After a deserializer has failed, grpcio (1.85 and before) sends the call's status twice, once from the thread that reads
and once from the one that waited for the request. The second is never confirmed, so the call stays on the server's
list: 16 KiB for each such request, until the server stops. Here a deserializer never fails: it hands over what it
found, and the handler ends the call with an error, as every other handler does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from rlbridge.grpc_core import grpc

from rlbridge.server.failure import FAILURES
from rlbridge.wire.errors import BridgeError, WireError

Abort = Callable[[Any, BridgeError], NoReturn]


class Malformed:
    """In a request's place: why there is none."""

    def __init__(self, error: WireError) -> None:
        self.error = error


class Parsing(grpc.ServerInterceptor):  # type: ignore[misc]
    """Parses the requests of all services: a request that is none ends its call with INVALID_ARGUMENT.

    Args:
        abort: ends a call, given its context, with an error.
    """

    def __init__(self, abort: Abort) -> None:
        self._abort = abort

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.request_deserializer is None:
            return handler
        shape = _SHAPES[handler.request_streaming, handler.response_streaming]
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        guarded = self._streamed(behaviour) if handler.request_streaming else self._unary(behaviour)
        return shape(guarded, careful(handler.request_deserializer), handler.response_serializer)

    def _unary(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(behaviour)  # with its attributes: grpcio's health service marks its own by one
        def guarded(request: Any, context: Any, *more: Any) -> Any:
            if isinstance(request, Malformed):
                self._abort(context, request.error)
            return behaviour(request, context, *more)

        return guarded

    def _streamed(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def parsed(requests: Iterator[Any], context: Any) -> Iterator[Any]:
            for request in requests:
                if isinstance(request, Malformed):
                    self._abort(context, request.error)
                yield request

        @functools.wraps(behaviour)
        def guarded(requests: Iterator[Any], context: Any, *more: Any) -> Any:
            return behaviour(parsed(requests, context), context, *more)

        return guarded


_SHAPES = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def careful(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A deserializer that never fails: in a request's place it gives a ``Malformed``."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except FAILURES as error:
            return Malformed(WireError(f"a request of {len(data)} bytes cannot be parsed: {str(error)[:300]}"))

    return read
