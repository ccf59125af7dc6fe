"""The two ways to drive a bidirectional gRPC stream.

``CallingThreadStream`` waits for the answer in the thread that wants it. It uses grpcio's own lower layer, which is
not public; ``open_stream`` takes it only where that layer is what it was when this was written, and otherwise the
public ``QueueStream``, which hands every message through two more threads (about 1.5 times slower).
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from rlbridge.grpc_core import grpc

from rlbridge.client.connections import connections
from rlbridge.client.periodic import Periodic
from rlbridge.v1 import env_pb2
from rlbridge.wire.busy_wait import BusyWait, may_look, readable

Metadata = tuple[tuple[str, str], ...]

_SEND_SECONDS = 10.0
_END_SECONDS = 0.5


class StreamBroken(grpc.RpcError):  # type: ignore[misc]
    """The stream ended; ``code``, ``details`` and ``trailing_metadata`` as in grpc's own errors."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Stream(Protocol):
    """Requests out, answers back, in order."""

    def send(self, request: env_pb2.ExchangeRequest) -> None: ...

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        """The answer, within ``timeout`` seconds. Raises ``grpc.RpcError`` where the stream ends before."""

    def close(self) -> None: ...


def open_stream(channel: grpc.Channel, exchange: Any, address: str, metadata: Metadata = ()) -> Stream:
    """A stream of the Exchange call: the fast way where it works, the public way elsewhere.

    Args:
        channel: a connected channel.
        exchange: the stub's method for the same call.
        address: of the server, ``host:port`` or ``unix:/path``.
        metadata: sent with the call.
    """
    try:
        return CallingThreadStream(channel, address, metadata)
    except (ImportError, AttributeError, TypeError, ValueError):  # another grpcio than those this knows
        return QueueStream(exchange, metadata)


class _Deadline:
    """Calls ``cancel`` when an answer is overdue: reading from a stream has no time limit of its own in grpc."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._due = float("inf")
        self._cancel = cancel
        self._watch = Periodic(self._look, 0.25)

    def start(self, timeout: float) -> None:
        self._due = time.monotonic() + timeout

    def met(self) -> None:
        self._due = float("inf")

    def stop(self) -> None:
        self._watch.stop()

    def _look(self) -> None:
        if time.monotonic() > self._due:
            self._watch.stop()
            self._cancel()


class QueueStream:
    """grpcio's public way: an iterator of requests, read by a thread of grpc's, and an iterator of answers."""

    def __init__(self, exchange: Any, metadata: Metadata) -> None:
        self._requests: queue.SimpleQueue[env_pb2.ExchangeRequest | None] = queue.SimpleQueue()
        self._answers = exchange(iter(self._requests.get, None), metadata=metadata)
        self._end = weakref.finalize(self, _end_queue, self._requests, self._answers, os.getpid())
        self._end.atexit = False
        self._deadline = _Deadline(self._answers.cancel)

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        self._requests.put(request)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        self._deadline.start(timeout)
        try:
            return next(self._answers)  # type: ignore[no-any-return]
        except StopIteration:
            raise StreamBroken(grpc.StatusCode.UNAVAILABLE, "the server ended the stream") from None
        finally:
            self._deadline.met()

    def close(self) -> None:
        self._deadline.stop()
        self._end()


def _end_queue(requests: queue.SimpleQueue[env_pb2.ExchangeRequest | None], answers: Any, process: int) -> None:
    if os.getpid() == process:
        requests.put(None)
        answers.cancel()


class _Call:
    """A call with a completion queue of its own, which grpc frees once everything begun on it has been seen to end.

    Raises (from the constructor): as ``CallingThreadStream``.
    """

    def __init__(self, channel: grpc.Channel, metadata: Metadata) -> None:
        from grpc._cython import cygrpc

        beginnings = (
            cygrpc.SendInitialMetadataOperation(metadata or None, 0),
            cygrpc.ReceiveInitialMetadataOperation(0),
            cygrpc.ReceiveStatusOnClientOperation(0),
        )
        self._process = os.getpid()
        self._under_way = len(beginnings)
        self.one_at_a_time = threading.Lock()
        self._call = channel._channel.segregated_call(
            cygrpc.PropagationConstants.GRPC_PROPAGATE_DEFAULTS,
            b"/rlbridge.v1.EnvService/Exchange",
            None,  # host
            None,  # deadline: of the whole stream, so none
            None,  # metadata
            None,  # credentials
            tuple(((operation,), None) for operation in beginnings),
            cygrpc.build_census_context(),
            None,
        )

    def operate(self, operations: Any) -> None:
        if self._under_way and self._call.operate(operations, None):
            self._under_way += 1

    def next_event(self) -> Any:
        event = self._call.next_event()
        self._under_way -= 1
        return event

    def cancel(self) -> None:
        self._call.cancel(grpc.StatusCode.CANCELLED.value[0], "cancelled by the client")

    def end(self) -> None:
        """Cancel, and see everything end: what grpc has not been asked for, it keeps, and the connection with it.

        That is at once, but for two cases: a request that the kernel still holds, since nobody reads at the other end,
        and an event that an interrupt has swallowed. So it is waited for elsewhere.
        """
        if os.getpid() != self._process:
            return
        self.cancel()
        waiting = threading.Thread(target=self._see_it_end, name="rlbridge-end", daemon=True)
        waiting.start()
        waiting.join(_END_SECONDS)

    def _see_it_end(self) -> None:
        with self.one_at_a_time, contextlib.suppress(Exception):  # whoever is waiting for an answer sees the end now
            while self._under_way:
                self.next_event()


class CallingThreadStream:
    """Sends and receives in the calling thread, on a completion queue of the call's own.

    Raises (from the constructor):
        ImportError, AttributeError, TypeError, ValueError: this grpcio's lower layer is another one.
    """

    def __init__(self, channel: grpc.Channel, address: str, metadata: Metadata) -> None:
        from grpc._cython import cygrpc

        self._send_message = cygrpc.SendMessageOperation
        self._receive_message = cygrpc.ReceiveMessageOperation(0)
        self._message_type = cygrpc.OperationType.receive_message
        self._sent_type = cygrpc.OperationType.send_message
        self._status_type = cygrpc.OperationType.receive_status_on_client
        self._call = _Call(channel, metadata)
        self._end = weakref.finalize(self, self._call.end)  # also where nobody closes it
        self._end.atexit = False
        self._ended: StreamBroken | None = None
        self._sending = self._asked = False  # a request is on its way by itself; an answer is asked for
        self._deadline = _Deadline(self._call.cancel)
        # Only looked at. Should one end, and its number be another file's, then looking is in vain, and ends soon.
        watched = connections(address) if may_look() else []
        self._readable = readable(watched)
        self._busy = BusyWait(lambda: bool(watched))

    def send(self, request: env_pb2.ExchangeRequest) -> None:
        send = self._send_message(request.SerializeToString(), 0)
        if not request.HasField("rollout"):
            # Asking for the answer together with sending saves a crossing into the core.
            self._operate(send, self._receive_message)
            return
        # Another one may follow before the answer; the core takes it only where the one before is seen to be gone.
        self._deadline.start(_SEND_SECONDS)
        try:
            with self._call.one_at_a_time:
                while self._sending and self._ended is None:
                    self._note(self._call.next_event())
        finally:
            self._deadline.met()
        self._sending = True
        self._operate(send)

    def receive(self, timeout: float) -> env_pb2.ExchangeResponse:
        if not self._asked:
            self._operate(self._receive_message)
        self._deadline.start(timeout)
        try:
            with self._call.one_at_a_time:
                while self._ended is None:
                    message = self._note(self._busy.take(self._readable, self._call.next_event))
                    if message is not None:
                        return env_pb2.ExchangeResponse.FromString(message)
            raise self._ended
        finally:
            self._deadline.met()

    def _operate(self, *operations: Any) -> None:
        self._asked = self._asked or self._receive_message in operations
        if self._ended is None:  # on a call that has ended, the status is what comes next
            self._call.operate(operations)

    def _note(self, event: Any) -> bytes | None:
        """Note what has come; an answer's bytes, if it is one."""
        message = None
        for operation in event.batch_operations:
            kind = operation.type()
            if kind == self._message_type:
                self._asked, message = False, operation.message()
            elif kind == self._sent_type:
                self._sending = False
            elif kind == self._status_type:
                self._ended = _broken(operation)
        return message

    def close(self) -> None:
        self._deadline.stop()
        self._end()


def _broken(operation: Any) -> StreamBroken:
    codes = {code.value[0]: code for code in grpc.StatusCode}
    code = codes.get(operation.code(), grpc.StatusCode.UNKNOWN)
    details = operation.details()
    if code is grpc.StatusCode.OK:
        return StreamBroken(grpc.StatusCode.UNAVAILABLE, "the server ended the stream")
    return StreamBroken(code, details.decode(errors="replace") if isinstance(details, bytes) else str(details))
