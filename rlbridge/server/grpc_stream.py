"""Answering a gRPC stream in the thread that its requests arrive in.

grpcio's public way hands every message through two threads: one sees it arrive and wakes the one that answers, which
asks for the next request only when the first has seen the answer gone. Here a stream has a completion queue and a
thread of its own, which waits for a request, answers it, and in one batch of operations sends the answer and asks for
the next request. The layer below grpcio's public one is needed for it; ``works`` tries it out, once a process, and
where it is not what it was when this was written, streams are answered in the public way.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from rlbridge.grpc_core import grpc

from rlbridge.wire.busy_wait import BusyWait

log = logging.getLogger("rlbridge.server")

_TRIAL_SECONDS = 5.0
_LOOK_SECONDS = 1.0


def give_own_threads(
    server: grpc.Server, service: str, name: str, handler: grpc.RpcMethodHandler, alone: Callable[[], bool]
) -> None:
    """Let ``handler`` answer the calls of ``/service/name``, each in a thread of its own.

    Args:
        server: made by ``grpc.server``, and not started yet.
        service, name: as in the .proto file, the service with its package.
        handler: what ``answered`` answers for, with ``own_thread``.
        alone: whether a thread that waits may look for its request instead of sleeping.

    Raises:
        ImportError, AttributeError: this grpcio is another one.
    """
    server.add_registered_method_handlers(service, {name: handler})
    server._state.server = _Server(server._state, f"/{service}/{name}", alone)


def answered(
    requests: Iterator[Any],
    context: Any,
    answer: Callable[[Any], Any],
    parse: Callable[[bytes], Any],
    own_thread: bool,
) -> Iterator[Any]:
    """What a stream's handler returns: an answer to each request, in order.

    Args:
        requests: grpcio's iterator.
        context: grpcio's.
        answer: a request's answer, a message; asked for one at a time.
        parse: a request from its bytes. Must not raise.
        own_thread: whether the call was given one.
    """
    for number, request in enumerate(requests):
        if own_thread and number:  # the first answer carries the headers, which is grpcio's business
            _Turns(context, answer, parse).take(request)
            return
        yield answer(request)


class _Server:
    """In the place of grpcio's own server object, which it is but for the calls of one method."""

    def __init__(self, state: Any, method: str, alone: Callable[[], bool]) -> None:
        from grpc import _server
        from grpc._cython import cygrpc

        self._state, self._method, self._server, self._alone = state, method, state.server, alone
        self._queue, self._timeout = cygrpc.CompletionQueue, cygrpc.CompletionType.queue_timeout
        self._stopped, self._stop_serving = _server._ServerStage.STOPPED, _server._stop_serving

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def request_registered_call(self, call_queue: Any, server_queue: Any, method: str, tag: Any) -> None:
        """Ask for the next call of ``method``, whose events go to ``call_queue``."""
        if method != self._method:
            self._server.request_registered_call(call_queue, server_queue, method, tag)
            return
        own = self._queue()
        self._server.request_registered_call(own, server_queue, method, tag)
        threading.Thread(target=self._see, args=(own,), name="rlbridge-stream", daemon=True).start()

    def _see(self, queue: Any) -> None:
        """What grpcio's serving thread does with the events of all calls, for those of one, from its first to its
        last."""
        state, busy = self._state, BusyWait(self._alone)

        def next_event(seconds: float) -> Any:
            event = queue.poll(time.time() + seconds if seconds else 0.0)
            return None if event.completion_type == self._timeout else event

        while True:
            event = busy.look(next_event)
            while event is None:
                event = next_event(_LOOK_SECONDS)
                if event is None and state.stage is self._stopped:
                    return
            busy.came()
            finished, callbacks = event.tag(event)
            for callback in callbacks:
                try:
                    callback()
                except Exception:
                    log.exception("at the end of a stream")
            if finished is not None:
                with state.lock:
                    state.rpc_states.remove(finished)
                    self._stop_serving(state)
                return
            event = None  # as there, before waiting again: it refers to the call, which may end meanwhile


class _Turns:
    """Answers the requests of a stream as they come."""

    def __init__(self, context: Any, answer: Callable[[Any], Any], parse: Callable[[bytes], Any]) -> None:
        from grpc import _server
        from grpc._cython import cygrpc

        self._state, self._call, self._answer = context._state, context._rpc_event.call, answer
        self._token = _server._RECEIVE_MESSAGE_TOKEN
        self._active = _server._is_rpc_state_active
        self._send, self._receive = cygrpc.SendMessageOperation, cygrpc.ReceiveMessageOperation(0)
        # grpcio's own bookkeeping of a request that has arrived: it looks at the first operation of the batch.
        self._note = _server._receive_message(self._state, self._call, parse)
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def take(self, request: Any) -> None:
        """Answer ``request`` here and those after it in the call's own thread; returns when there are no more.

        Raises:
            whatever ``answer`` does.
        """
        self._turn(request)
        self._over.wait()  # for as long as the stream is open; who watches over streams ends it
        if self._failure is not None:
            raise self._failure

    def _turn(self, request: Any) -> None:
        """Send the answer, and ask for the next request."""
        try:
            message = self._answer(request).SerializeToString()
            with self._state.condition:
                if self._active(self._state):
                    self._call.start_server_batch((self._receive, self._send(message, 0)), self._arrived)
                    self._state.due.add(self._token)
                    return
        except BaseException as failure:  # it is the handler's, which waits
            self._failure = failure
        self._over.set()

    def _arrived(self, event: Any) -> Any:
        """Called by the thread that sees the batch done."""
        finished = self._note(event)
        with self._state.condition:
            request, self._state.request = self._state.request, None
        if request is None:  # the client is done, or gone
            self._over.set()
        else:
            self._turn(request)
        return finished


@functools.cache
def works() -> bool:
    """Whether this grpcio is as this takes it to be: two short streams over loopback say so."""
    sent = [b"first", b"second", b"third", b"fourth"]
    threads: list[str] = []

    def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        def answer(request: bytes) -> _Bytes:
            threads.append(threading.current_thread().name)
            return _Bytes(request)

        return answered(requests, context, answer, bytes, own_thread=True)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    try:
        handler = grpc.stream_stream_rpc_method_handler(echo, response_serializer=bytes)
        give_own_threads(server, "rlbridge.Trial", "Echo", handler, alone=lambda: False)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            echoes = channel.stream_stream("/rlbridge.Trial/Echo")
            calls = [echoes(iter(sent), timeout=_TRIAL_SECONDS) for _ in range(2)]
            alike = all(list(call) == sent for call in calls)
        return alike and threads.count("rlbridge-stream") == 2 * len(sent[2:])
    except Exception:  # whatever is different: the public way needs none of this
        return False
    finally:
        server.stop(0)


class _Bytes(bytes):
    """A message that is its own bytes."""

    def SerializeToString(self) -> bytes:
        return bytes(self)
