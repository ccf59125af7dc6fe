"""This process's connections to a server, where a library keeps them to itself."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

_OPEN = Path("/proc/self/fd")  # Linux


def connections(address: str) -> list[int]:
    """The descriptors of the sockets connected to ``address``; none where this system does not tell.

    Args:
        address: ``host:port`` (the port counts) or ``unix:/path``.
    """
    found: list[int] = []
    if socket.getdefaulttimeout() is not None:  # Python would set it, and change whose sockets they are
        return found
    try:
        numbers = [int(entry.name) for entry in _OPEN.iterdir()]
    except OSError:
        return found
    for number in numbers:
        with contextlib.suppress(OSError):  # no socket, or not connected, or closed just now
            connection = socket.socket(fileno=number)
            try:
                if _names(connection.getpeername(), address):
                    found.append(number)
            finally:
                connection.detach()
    return found


def _names(peer: object, address: str) -> bool:
    if isinstance(peer, tuple):
        return address.endswith(f":{peer[1]}")
    return address == f"unix:{peer}"
