"""The studio with a user that is no browser: NiceGUI's own harness."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from rlbridge.runs.manager import Runs
from rlbridge.studio.app import add_pages
from rlbridge.studio.servers import Servers
from rlbridge.studio.workshop import Workshop


def make_workshop(folder: Path, **options) -> Workshop:
    runs = Runs(folder / "runs")
    return Workshop(runs, Servers(runs.folder / ".servers", options.pop("catalog", None)), **options)


@asynccontextmanager
async def studio_user(workshop: Workshop) -> AsyncIterator[User]:
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "rlbridge"}
    try:
        async with user_simulation() as user:
            add_pages(workshop)
            yield user
    finally:
        sys.modules.update(ours)  # the harness forgets every module with a page in it, and the packages around it


def element(user: User, marker: str):
    """The element with that mark."""
    return next(iter(user.find(marker=marker).elements))


def is_there(user: User, marker: str) -> bool:
    """Whether one is on the page, and to be seen."""
    try:
        return bool(user.find(marker=marker).elements)
    except AssertionError:
        return False


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what another process or a timer of the page brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.05)
