"""Answering a gRPC stream with one completion a message instead of two.

grpcio's public way sends an answer, waits in one thread until another one has seen it gone, and only then asks for
the next request, which that other thread brings, too: two hand-offs a message. Here one batch of operations sends the
answer and asks for the next request. The lower layer that takes a batch is not public; ``works`` tries it out, once a
process, and where it is not what it was when this was written, streams are answered in the public way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

_TRIAL_SECONDS = 5.0


def answered(
    requests: Iterator[Any], context: Any, answer: Callable[[Any], Any], parse: Callable[[bytes], Any]
) -> Iterator[Any]:
    """What a stream's handler returns: an answer to each request, in order.

    Args:
        requests: grpcio's iterator.
        context: grpcio's.
        answer: a request's answer, a message.
        parse: a request from its bytes. Must not raise.
    """
    fast = works()
    for number, request in enumerate(requests):
        if not fast or number == 0:  # the first answer carries the headers, which is grpcio's business
            yield answer(request)
            continue
        swap = _Swap(context, parse)
        while request is not None:
            request = swap(answer(request).SerializeToString())
        return


class _Swap:
    """Sends an answer and waits for the next request.

    Raises (from the constructor): ImportError, AttributeError where this grpcio is another one.
    """

    def __init__(self, context: Any, parse: Callable[[bytes], Any]) -> None:
        from grpc import _server
        from grpc._cython import cygrpc

        self._state, self._call = context._state, context._rpc_event.call
        self._token = _server._RECEIVE_MESSAGE_TOKEN
        self._active = _server._is_rpc_state_active
        self._send, self._receive = cygrpc.SendMessageOperation, cygrpc.ReceiveMessageOperation(0)
        # grpcio's own bookkeeping of a request that has arrived, in the thread that sees it: it looks at the first
        # operation of the batch.
        self._arrived = _server._receive_message(self._state, self._call, parse)

    def __call__(self, answer: bytes) -> Any:
        """The next request; None where there is none: the client is done, or gone."""
        state = self._state
        with state.condition:
            if not self._active(state):
                return None
            self._call.start_server_batch((self._receive, self._send(answer, 0)), self._arrived)
            state.due.add(self._token)
            while True:
                state.condition.wait()
                request, state.request = state.request, None
                if request is not None:
                    return request
                if self._token not in state.due or not self._active(state):
                    return None


@functools.cache
def works() -> bool:
    """Whether this grpcio does what ``_Swap`` takes it to do: a short stream over loopback says so."""
    sent = [b"first", b"second", b"third", b"fourth"]

    def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield next(requests)
        request, swap = next(requests), _Swap(context, bytes)
        while request is not None:
            request = swap(request)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    try:
        handlers = {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rlbridge.Trial", handlers),))
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            call = channel.stream_stream("/rlbridge.Trial/Echo")
            return list(call(iter(sent), timeout=_TRIAL_SECONDS)) == sent
    except Exception:  # whatever is different: the public way needs none of this
        return False
    finally:
        server.stop(0)
