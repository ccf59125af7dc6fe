"""A connection to an OPC UA server that can be used from one ordinary thread, each call with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TypeVar

from rlbridge.plants.drivers.needs import needs
from rlbridge.plants.plant import PlantLost

with needs("opcua"):
    from asyncua import Client, ua
    from asyncua.crypto import security_policies
    from asyncua.ua.uaerrors import UaError, UaStringParsingError
    from cryptography import x509

__all__ = ["Client", "OpcUaLink", "UaError", "UaStringParsingError", "security_in", "ua"]

T = TypeVar("T")
_SESSION_TIMEOUT = 60_000
"""Milliseconds after which a server forgets a client that is gone; one that is there is heard of every second."""


class OpcUaLink:
    """One client session with a server. A call that fails drops it; the next call connects anew, within its deadline.

    asyncua does not reconnect by itself, and a server that hangs keeps its socket open: only the deadline tells.

    Args:
        endpoint: ``opc.tcp://host:port[/path]``.
        timeout: seconds for a call, connecting included.
        security: as asyncua's ``set_security_string``: ``Policy,Mode,certificate,private key``; empty for none.
        user, password: empty for an anonymous session.
    """

    def __init__(self, endpoint: str, timeout: float, security: str = "", user: str = "", password: str = "") -> None:
        self.endpoint = endpoint
        self._timeout = timeout
        self._security, self._user, self._password = security, user, password
        self._client: Client | None = None
        self._dropping: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rlbridge-opcua", daemon=True)
        self._thread.start()

    def call(self, what: str, work: Callable[[Client], Awaitable[T]]) -> T:
        """Run ``work`` with a connected client.

        Raises:
            PlantLost: no answer within the deadline, no connection, or the server refused; says which, and in ``what``.
        """
        future = asyncio.run_coroutine_threadsafe(self._within_deadline(what, work), self._loop)
        try:
            # The loop keeps the deadline; this one is for a loop that something in it holds.
            return future.result(2 * self._timeout + 1)
        except FutureTimeout:
            future.cancel()
            raise self._lost(what, f"gave no answer within {self._timeout:g} s") from None

    async def _within_deadline(self, what: str, work: Callable[[Client], Awaitable[T]]) -> T:
        try:
            return await asyncio.wait_for(self._with_client(work), self._timeout)
        except (asyncio.TimeoutError, TimeoutError):
            self._drop()
            raise self._lost(what, f"gave no answer within {self._timeout:g} s: it hangs, or is cut off") from None
        except ConnectionRefusedError:
            self._drop()
            raise self._lost(what, "refused the connection: is it running, and is this its port?") from None
        except (Exception, asyncio.CancelledError) as error:  # asyncua raises Exception itself, too
            self._drop()
            raise self._lost(what, f"failed: {str(error) or type(error).__name__}") from error

    async def _with_client(self, work: Callable[[Client], Awaitable[T]]) -> T:
        if self._client is None:
            client = Client(self.endpoint, timeout=2 * self._timeout)  # ours ends first, and says more
            client.session_timeout = _SESSION_TIMEOUT
            if self._security:
                await client.set_security_string(self._security)
                _be_who_the_certificate_says(client)
            if self._user:
                client.set_user(self._user)
                client.set_password(self._password)
            self._client = client  # before it is connected, so that a failure on the way drops it
            await client.connect()
        return await work(self._client)

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            task = self._loop.create_task(_disconnect(client, self._timeout))
            self._dropping.add(task)  # the loop itself holds it only weakly
            task.add_done_callback(self._dropping.discard)

    def _lost(self, what: str, why: str) -> PlantLost:
        return PlantLost(f"the OPC UA server {self.endpoint} {why} (while {what})")

    def close(self) -> None:
        """End the session and the thread; waits no longer than the deadline."""
        client, self._client = self._client, None
        with contextlib.suppress(FutureTimeout):
            asyncio.run_coroutine_threadsafe(_finish(client, self._timeout), self._loop).result(self._timeout + 1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1)
        if not self._thread.is_alive():
            self._loop.close()


def security_in(folder: Path, text: str) -> str:
    """``Policy,Mode,certificate,private key[,server certificate]`` with its files looked for in a folder.

    Raises:
        ValueError: a policy or mode that there is not, or parts are missing.
    """
    if not text:
        return ""
    policy, mode, *files = (part.strip() for part in f"{text},".split(",")[:-1])
    if not hasattr(security_policies, f"SecurityPolicy{policy}") or mode not in ("Sign", "SignAndEncrypt"):
        raise ValueError(
            f"security {text!r}: expected Policy,Mode,certificate,private key with a policy such as Basic256Sha256 or "
            "Aes256Sha256RsaPss and the mode Sign or SignAndEncrypt"
        )
    if len(files) not in (2, 3):
        raise ValueError(
            f"security {text!r}: after the mode come two files or three: certificate, private key, server's"
        )
    return ",".join([policy, mode, *(str(folder / file) for file in files)])


def _be_who_the_certificate_says(client: Client) -> None:
    """Servers refuse a client whose application URI is not the one in its certificate."""
    certificate = x509.load_der_x509_certificate(client.security_policy.host_certificate or b"")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier)[:1]:
        client.application_uri = uri


async def _disconnect(client: Client, timeout: float) -> None:
    with contextlib.suppress(Exception):  # it may be gone or hang, which is why it is dropped
        await asyncio.wait_for(client.disconnect(), timeout)
    with contextlib.suppress(Exception):
        client.disconnect_socket()


async def _finish(client: Client | None, timeout: float) -> None:
    if client is not None:
        await _disconnect(client, timeout / 2)
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.wait(others, timeout=timeout / 2) if others else None
