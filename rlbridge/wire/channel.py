"""Frames between two processes of one Linux machine: a unix socket that wakes, and memory that both of them see.

A frame is a header and a payload. The header, 8 bytes, little-endian: what it is (``Kind``, a byte), where the payload
is (a byte: 0, it follows; 1, it lies at the beginning of the sender's half of the shared memory), two bytes of 0, and
the payload's length (4 bytes). A small payload goes along with the header: that is one call into the kernel on each
side, which wakes the other one as well. A large one goes through the memory, and only its header through the socket.

The memory is a memfd: it has no name, and is gone with the last process that has it open, however that one ends. The
end of a process closes its socket, which wakes the other side at once.

A connection is opened with ``HELLO``: the name of a call of EnvService, a line feed, and an authorization as in HTTP,
or nothing. Then each ``MESSAGE`` is a request and is answered, in order, by a ``MESSAGE`` or an ``ERROR`` (a serialised
``rlbridge.v1.Error``). For the call Exchange the server first sends ``MEMORY``: 8 bytes with the size of a half, and
the memfd as ancillary data; the client's half comes first.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import socket
import struct
import sys
import time

from rlbridge.wire.busy_wait import BusyWait, readable
from rlbridge.wire.errors import MessageTooLarge, WireError

HELLO_PREFIX = b"rlbridge.v1 "
WITH_THE_HEADER = 16 * 1024  # bytes; larger payloads are cheaper through the memory, see benchmarks/transports.py
_LARGEST_HALF = 64 * 1024 * 1024  # of address space: pages are taken as they are used
_HEADER = struct.Struct("<BBxxI")
_SIZE = struct.Struct("<Q")


class BadFrame(WireError):
    """What came is no frame, or not one that may come there."""


class Kind(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    MESSAGE = 2
    ERROR = 3
    MEMORY = 4


def supported() -> bool:
    """Whether this system has what it takes: Linux."""
    return hasattr(os, "memfd_create") and hasattr(socket, "AF_UNIX")


class Channel:
    """One end of a connection. One thread sends and receives; any may close.

    Args:
        connection: a connected unix stream socket, which this takes over.
        limit: the largest payload taken [bytes].

    Attributes:
        limit: may be changed.
    """

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._socket = connection
        self.limit = limit
        self._timeout = connection.gettimeout()
        self._busy = BusyWait(lambda: False)
        self._readable = readable([connection.fileno()])
        self._buffer = memoryview(bytearray(_HEADER.size + WITH_THE_HEADER))
        self._start = self._end = 0  # of what has been read and not been taken
        self._outgoing = self._incoming = memoryview(b"")

    def look_first(self, busy: BusyWait) -> None:
        """Wait for frames in this way from now on."""
        self._busy = busy

    # --------------------------------------------------------------------------------------------------- sending

    def send(self, kind: Kind, payload: bytes) -> None:
        """Send a frame. What was sent through the memory before must have been answered.

        Raises:
            OSError: the other side is gone, or takes nothing within the time last given to ``receive``.
        """
        size = len(payload)
        if size <= WITH_THE_HEADER:
            self._write(_HEADER.pack(kind, 0, size) + payload)
        elif size <= len(self._outgoing):
            self._outgoing[:size] = payload
            self._write(_HEADER.pack(kind, 1, size))
        else:
            self._write(_HEADER.pack(kind, 0, size))
            self._socket.sendall(payload)

    def _write(self, data: bytes) -> None:
        sent = 0
        with contextlib.suppress(BlockingIOError):  # there is nearly always room; sendall would ask first, each time
            sent = os.write(self._socket.fileno(), data)
        if sent < len(data):
            self._socket.sendall(data[sent:])

    # ------------------------------------------------------------------------------------------------- receiving

    def receive(self, timeout: float | None) -> tuple[int, memoryview]:
        """The next frame's kind and payload, which is valid until the next call.

        Args:
            timeout: seconds; None: as long as the connection lasts.

        Raises:
            TimeoutError: it did not come whole in time.
            ConnectionResetError: the other side has closed, or is gone.
            MessageTooLarge: it is beyond the limit.
            BadFrame: it is none.
        """
        due = None if timeout is None else time.monotonic() + timeout
        self._set_timeout(timeout)
        self._fill(_HEADER.size, due)
        kind, shared, size = _HEADER.unpack_from(self._buffer, self._start)
        self._start += _HEADER.size
        if not Kind.HELLO <= kind <= Kind.MEMORY or shared > 1:
            raise BadFrame("what came over the socket is no frame of rlbridge's")
        if size > self.limit:
            raise MessageTooLarge(
                f"a message of {size} bytes came, the limit is {self.limit}. Raise max_message_bytes.",
                size=size,
                limit=self.limit,
            )
        if shared:
            if size > len(self._incoming):
                raise BadFrame(f"a frame names {size} bytes of a shared memory of {len(self._incoming)}")
            return kind, self._incoming[:size]
        if size > WITH_THE_HEADER:
            return kind, self._long(size, due)
        self._fill(size, due)
        payload = self._buffer[self._start : self._start + size]
        self._start += size
        return kind, payload

    def _fill(self, size: int, due: float | None) -> None:
        """Have so many bytes in the buffer."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + size > len(self._buffer):
            rest = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        while self._end - self._start < size:
            self._end += self._read(self._buffer[self._end :])
            if due is not None and self._end - self._start < size:  # the rest is late, too, by the same time
                self._set_timeout(due - time.monotonic())

    def _long(self, size: int, due: float | None) -> memoryview:
        """A payload that is larger than the buffer."""
        whole = memoryview(bytearray(size))
        got = self._end - self._start
        whole[:got] = self._buffer[self._start : self._end]
        self._start = self._end = 0
        while got < size:
            if due is not None:
                self._set_timeout(due - time.monotonic())
            got += self._read(whole[got:])
        return whole

    def _read(self, into: memoryview) -> int:
        got = self._busy.take(self._readable, self._socket.recv_into, into)
        if not got:
            raise ConnectionResetError("the other side has closed the connection")
        return got

    def _set_timeout(self, timeout: float | None) -> None:
        if timeout == self._timeout:  # setting it is a call into the kernel
            return
        if timeout is not None and timeout <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(timeout)
        self._timeout = timeout

    # ---------------------------------------------------------------------------------------------------- memory

    def offer_memory(self) -> None:
        """Make the shared memory and hand it to the other side: large payloads go through it from now on.

        It is sealed: neither side can shrink it, which would kill the other one.

        Raises:
            OSError: the system has none to give, or the other side is gone.
        """
        assert sys.platform == "linux"
        import fcntl

        half = -(-min(self.limit, _LARGEST_HALF) // mmap.PAGESIZE) * mmap.PAGESIZE
        fd = os.memfd_create("rlbridge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, 2 * half)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._incoming, self._outgoing = _halves(fd, half)
            socket.send_fds(self._socket, [_HEADER.pack(Kind.MEMORY, 0, _SIZE.size) + _SIZE.pack(half)], [fd])
        finally:
            os.close(fd)

    def take_memory(self, timeout: float) -> tuple[int, memoryview]:
        """Receive a frame, which should be the offer of the shared memory; if it is, use it from now on.

        Raises:
            OSError, MessageTooLarge, BadFrame: as ``receive``, or the memory cannot be had.
        """
        assert sys.platform == "linux"
        import fcntl

        self._set_timeout(timeout)
        data, descriptors, _, _ = socket.recv_fds(self._socket, len(self._buffer), 1)
        try:
            self._buffer[: len(data)] = data
            self._end = len(data)
            kind, payload = self.receive(timeout)
            if kind == Kind.MEMORY:
                if len(descriptors) != 1 or len(payload) != _SIZE.size:
                    raise BadFrame("the server offers no shared memory")
                (half,) = _SIZE.unpack(payload)
                sealed = fcntl.fcntl(descriptors[0], fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
                if not sealed or os.fstat(descriptors[0]).st_size != 2 * half:
                    raise BadFrame("the shared memory that the server offers is of another size than it says")
                self._outgoing, self._incoming = _halves(descriptors[0], half)
            return kind, payload
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def hang_up(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection, or one direction of it; whoever waits on either side wakes. Any thread may call."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(how)

    def close(self) -> None:
        """End the connection and let go of all that it held. Idempotent."""
        self.hang_up()
        self.let_go()

    def let_go(self) -> None:
        """Close this process's end, which ends the connection unless a fork shares it."""
        self._socket.close()
        self._outgoing = self._incoming = memoryview(b"")


def _halves(fd: int, half: int) -> tuple[memoryview, memoryview]:
    """The two halves of a shared memory, for as long as somebody refers to either."""
    whole = memoryview(mmap.mmap(fd, 2 * half))
    return whole[:half], whole[half:]
