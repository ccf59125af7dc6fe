"""Servers in processes of their own, behind a bad network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import rlbridge
from tests.chaos.proxy import Faults, Proxy

SCHEMES = ["grpc", "http"]


@pytest.fixture(params=SCHEMES)
def scheme(request) -> str:
    """The transport."""
    return request.param


@pytest.fixture
def served(serve_process, scheme) -> Callable[..., str]:
    """Serve an environment in a process of its own; returns the URL."""

    def start(env: str = "tests.envs:Ledger", *options: str) -> str:
        return serve_process(env, "--bind", f"{scheme}://127.0.0.1:0", *options)[1][0]

    return start


@pytest.fixture
def proxied() -> Iterator[Callable[..., Proxy]]:
    """Put a proxy before a URL."""
    with ExitStack() as stack:

        def start(url: str, **faults) -> Proxy:
            return stack.enter_context(Proxy(url, Faults(**faults)))

        yield start


def books(url: str) -> dict[str, int]:
    """What the ``Ledger`` environments of a server have counted; the one that tells is among them."""
    env = rlbridge.make(url)
    _, info = env.reset(options={"books": True})
    env.close()
    return info
