"""The laboratory: the quadruple tank behind a real OPC UA server, in a process of its own, on the wall clock.

``python env_servers/quadruple_tank/laboratory.py`` listens on port 4840; ``rlbridge serve
env_servers/quadruple_tank/live.yaml`` guards it. Whoever writes to the pumps owns them, except that a watchdog here
switches them off when a heartbeat that has begun stands still: the bridge's own death is then no danger.

Levels [cm], pumps [V] and set points [cm] are doubles, with EURange and EngineeringUnits; pumps, set points and the
heartbeat can be written.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import datetime, timezone
from typing import Any

import numpy as np
from asyncua import Server, ua
from tanks import PHASES, Phase, advance, steady_levels

TICK = 0.1
"""Seconds between two steps of the plant."""


class Laboratory:
    """The process and its OPC UA variables.

    Args:
        phase: how the valves stand.
        speed: how many seconds of the plant pass in one.
        watchdog: seconds for which the heartbeat may stand still.
    """

    def __init__(self, phase: Phase, speed: float, watchdog: float) -> None:
        self.phase, self.speed, self.watchdog = phase, speed, watchdog
        self.levels = steady_levels(np.array(phase.voltages), phase)
        self.tripped = False
        self._beat: tuple[float, float] | None = None

    async def publish(self, server: Server, space: int) -> None:
        """Add the variables."""
        self._objects = await server.nodes.objects.add_object(space, "QuadrupleTank")
        self._space = space
        self._levels = [await self._variable(f"Level{i + 1}", level, 30.0, "cm") for i, level in enumerate(self.levels)]
        for i in range(2):
            point = await self._variable(f"SetPoint{i + 1}", self.levels[i], 20.0, "cm")
            await point.set_writable()
        self._pumps = [await self._variable(f"Pump{i + 1}", v, 10.0, "V") for i, v in enumerate(self.phase.voltages)]
        self._heartbeat = await self._variable("Heartbeat", 0.0, 1.0, "")
        self._tripped = await self._variable("Tripped", 0.0, 1.0, "")
        for node in (*self._pumps, self._heartbeat):
            await node.set_writable()

    async def run(self) -> None:
        """Let the plant run until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            pumps = np.clip([await node.read_value() for node in self._pumps], 0.0, 10.0)
            await self._watch(now, float(await self._heartbeat.read_value()))
            if self.tripped:
                pumps[:] = 0.0
                for node in self._pumps:
                    await _show(node, 0.0)
            self.levels = advance(self.levels, pumps, self.phase, self.speed * (now - last))
            last = now
            for node, level in zip(self._levels, self.levels, strict=True):
                await _show(node, float(level))

    async def _watch(self, now: float, beat: float) -> None:
        """Trip when the heartbeat has stood still; the next beat ends the trip."""
        if self._beat is None:
            self._beat = (now, beat) if beat else None
        elif beat != self._beat[1]:
            self._beat, self.tripped = (now, beat), False
        else:
            self.tripped = now - self._beat[0] > self.watchdog
        await _show(self._tripped, float(self.tripped))

    async def _variable(self, name: str, value: float, high: float, unit: str) -> Any:
        tag, browse = f"ns={self._space};s={name}", f"{self._space}:{name}"
        node = await self._objects.add_variable(tag, browse, float(value))
        await node.add_property(0, "EURange", ua.Range(0.0, high))
        if unit:
            await node.add_property(0, "EngineeringUnits", ua.EUInformation(DisplayName=ua.LocalizedText(unit)))
        return node


async def _show(node: Any, value: float) -> None:
    now = datetime.now(timezone.utc)
    await node.write_value(ua.DataValue(ua.Variant(value, ua.VariantType.Double), SourceTimestamp=now))


async def main() -> None:
    """Serve until interrupted; prints the address once it answers."""
    parser = argparse.ArgumentParser(description="The quadruple tank behind an OPC UA server.")
    parser.add_argument("--port", type=int, default=4840)
    parser.add_argument("--phase", choices=PHASES, default="minimum")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the plant in one of the clock")
    parser.add_argument("--watchdog", type=float, default=5.0, help="seconds for which the heartbeat may stand still")
    arguments = parser.parse_args()

    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{arguments.port}")
    laboratory = Laboratory(PHASES[arguments.phase], arguments.speed, arguments.watchdog)
    await laboratory.publish(server, await server.register_namespace("urn:rlbridge:quadruple-tank"))
    async with server:
        print(f"serving opc.tcp://127.0.0.1:{arguments.port}", flush=True)
        await laboratory.run()


if __name__ == "__main__":
    asyncio.run(main())
