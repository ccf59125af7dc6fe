"""Servers that tests start through a studio, and what its page says of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from nicegui import ui

from rlbridge.studio.servers import Servers
from rlbridge.studio.workshop import Workshop

PLANT = """
from rlbridge.plants import Reading, Signal


class Tank:
    signals = (Signal("level", "observation", 0.0, 10.0, "m"), Signal("valve", "action", 0.0, 1.0))

    def start(self, seed, options):
        self.level, self.valve, self.time = 5.0, 0.5, 0.0

    def read(self):
        return Reading({"level": self.level, "valve": self.valve}, self.time)

    def write(self, commands):
        self.valve = commands["valve"]

    def advance(self, dt):
        self.time += dt
        self.level = min(max(self.level + dt * (self.valve - 0.5), 0.0), 10.0)

    def safe_action(self):
        return {"valve": 0.0}

    def close(self):
        pass
"""
SERVED = """
name: tank
env: plant.py:Tank
clock: {{period: 50 ms, real_time: true}}
gate:
  mode: {mode}
  operator: operator.jsonl
  dead_man: {{hold: 60 s}}
  interlocks: [{{when: "level > 9", then: {{valve: 0}}, latch: true}}]
"""


def put_plant(folder, mode="active"):
    """A tank in ``folder``/tank, on the wall clock, with an operator's file."""
    tank = folder / "tank"
    tank.mkdir(parents=True)
    (tank / "plant.py").write_text(PLANT)
    (tank / "serve.yaml").write_text(SERVED.format(mode=mode))
    return tank


@contextlib.contextmanager
def ended(workshop: Workshop) -> Iterator[None]:
    """Whatever was started ends, by its own id, hanging or not."""
    try:
        yield
    finally:
        for server in workshop.servers.all():
            if server.alive:
                os.kill(server.pid, signal.SIGKILL)
                workshop.servers.stop(server.name)


def url_of(servers: Servers, name: str, seconds: float = 30.0) -> str:
    """Where a server answers, once it does."""
    end = time.monotonic() + seconds
    while not (server := servers.get(name)).urls:
        assert server.alive, server.output
        assert time.monotonic() < end, "it does not come to answer"
        time.sleep(0.05)
    return server.urls[0]


def said(user, marker: str) -> str:
    """What the visible elements with that mark say."""
    with user:
        found = [element for element in user.client.elements.values() if marker in element._markers and element.visible]
    return "\n".join(str(getattr(element, "text", "")) for element in found)


def press(user, marker: str) -> None:
    user.find(marker=marker).click()


def say_yes(user, action: str) -> None:
    """Answer a question of the page."""
    with user.scope(kind=ui.dialog):
        user.find(kind=ui.button, content=action).click()
