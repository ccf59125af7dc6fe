"""Name resolution and the bare connection."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import threading
import time
from collections.abc import Callable

from rlbridge.doctor.deadline import Deadline
from rlbridge.doctor.finding import Finding, Problem
from rlbridge.doctor.place import Place

# A way that has worked once: makes a new connection within so many seconds, or raises OSError.
Dial = Callable[[float], socket.socket]


class NotResolved(OSError):
    """A name leads to no address."""


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a host, in the order in which to try them.

    Raises:
        NotResolved: there are none, or no answer in time.
    """
    answers: list[list[str] | OSError | UnicodeError] = []

    def ask() -> None:  # the system's resolver has no deadline of its own
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.append(list(dict.fromkeys(str(info[4][0]) for info in infos)))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = threading.Thread(target=ask, name="rlbridge-doctor-resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise NotResolved(f"the resolver did not answer within {seconds:.1f} s")
    if isinstance(answers[0], list):
        return answers[0]
    raise NotResolved(getattr(answers[0], "strerror", None) or str(answers[0])) from answers[0]


def open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to the first address of a host that takes one.

    Raises:
        OSError: none does; the failure of the last one.
    """
    end = time.monotonic() + seconds
    failed: OSError = NotResolved("no address")
    for address in resolve(host, port, seconds):
        try:
            return socket.create_connection((address, port), max(0.2, end - time.monotonic()))
        except OSError as error:
            failed = error
    raise failed


def failure(error: OSError) -> str:
    """Why a connection was not made, in a few words."""
    if isinstance(error, NotResolved):
        return f"name not resolved: {error}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "timed out"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "unreachable"
    return (error.strerror or str(error)).lower()


def examine_name(place: Place, deadline: Deadline) -> tuple[list[str], Finding]:
    """Resolve the target's host name.

    Raises:
        Problem: it leads nowhere.
    """
    try:
        ipaddress.ip_address(place.host)
        return [place.host], Finding("name", "ok", f"{place.host} is an address, there is nothing to resolve")
    except ValueError:
        pass
    try:
        addresses = resolve(place.host, place.port, deadline.within(4.0))
    except NotResolved as error:
        raise Problem(
            "name",
            f"name not resolved: {place.host!r}: {error}",
            "Check the spelling and this machine's DNS or hosts file, or give an address instead of a name.",
        ) from error
    return addresses, Finding("name", "ok", f"{place.host} is {', '.join(addresses)}")


def examine_tcp(place: Place, addresses: list[str], deadline: Deadline) -> tuple[Dial, Finding]:
    """Connect to the addresses in turn.

    Raises:
        Problem: none of them takes a connection; the causes are told apart.
    """
    failed: list[tuple[str, OSError]] = []
    total = deadline.within(5.0)
    for address in addresses:
        started = time.perf_counter()
        try:
            socket.create_connection((address, place.port), max(0.2, total / len(addresses))).close()
        except OSError as error:
            failed.append((address, error))
            continue
        milliseconds = (time.perf_counter() - started) * 1000
        others = "".join(f"; {other}: {failure(error)}" for other, error in failed)

        def dial(seconds: float, address: str = address) -> socket.socket:
            return socket.create_connection((address, place.port), seconds)

        found = f"{address} port {place.port} accepts connections ({milliseconds:.1f} ms){others}"
        return dial, Finding("connection", "ok", found)
    raise _not_connected(place, failed, total)


def _not_connected(place: Place, failed: list[tuple[str, OSError]], seconds: float) -> Problem:
    where = ", ".join(address for address, _ in failed)
    words = {failure(error) for _, error in failed}
    if words == {"connection refused"}:
        return Problem(
            "connection",
            f"connection refused: {where} is there, and nothing listens on port {place.port}",
            "Start the server, or compare the port with the `serving` line it printed; a server that serves 127.0.0.1 "
            "cannot be reached from other machines.",
        )
    if "timed out" in words:
        return Problem(
            "connection",
            f"connection timed out: nothing comes back from {where} port {place.port} within {seconds:.1f} s",
            "A firewall on the way drops what it gets, or the machine is off or overwhelmed: open the port, or tunnel.",
        )
    if "unreachable" in words:
        return Problem(
            "connection",
            f"unreachable: there is no route to {where}",
            "Check the address and this machine's network, VPN or container network.",
        )
    reasons = "; ".join(f"{address}: {failure(error)}" for address, error in failed)
    return Problem("connection", f"not connected: {reasons}", "Check the address, and that this process may use it.")


def examine_unix(place: Place, deadline: Deadline) -> tuple[Dial, Finding]:
    """Connect to a unix socket.

    Raises:
        Problem: no such socket, nobody listens, not permitted.
    """
    path = place.path

    def dial(seconds: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        try:
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
        return connection

    start = (
        f"Start the server with --bind {place.scheme}://PATH, and compare the path with the `serving` line it printed."
    )
    try:
        dial(deadline.within(4.0)).close()
    except FileNotFoundError as error:
        raise Problem("connection", f"no such socket: there is no file {path}", start) from error
    except PermissionError as error:
        raise Problem(
            "connection",
            f"not permitted: this user may not use the socket {path}",
            "Give the user read and write permission on the socket and its folder.",
        ) from error
    except OSError as error:
        if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
            raise Problem("connection", f"not a socket: {path} is something else", start) from error
        if isinstance(error, ConnectionRefusedError):
            left = f"connection refused: the socket {path} is there, and no server listens on it any more"
            raise Problem("connection", left, "Start the server again; it replaces the file.") from error
        raise Problem("connection", f"not connected: {path}: {failure(error)}", start) from error
    return dial, Finding("connection", "ok", f"the socket {path} accepts connections")
