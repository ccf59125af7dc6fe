"""asyncua's own server with a small plant: ``python -m tests.plants.opcua_server PORT``."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timezone

from asyncua import Server, ua


async def main(port: int) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    space = await server.register_namespace("urn:rlbridge:test")
    reactor = await server.nodes.objects.add_object(space, "Reactor")
    temperature = await _variable(reactor, space, "Reactor.T", "Temperature", 324.5, (280.0, 400.0), "K")
    coolant = await _variable(reactor, space, "Coolant.SP", "Coolant set point", 300.0, (290.0, 312.0), "K")
    await coolant.set_writable()
    pump = await reactor.add_variable(f"ns={space};s=Pump.On", f"{space}:Pump", False)
    await pump.set_writable()
    stages = await _variable(reactor, space, "Stages", "Stages", ua.Variant(2, ua.VariantType.UInt16), (0, 8), "")
    await stages.set_writable()
    pressure = await reactor.add_variable(f"ns={space};s=P", f"{space}:Pressure", 1.5)
    name = await reactor.add_variable(f"ns={space};s=Name", f"{space}:Name", "R1")
    nodes = {"T": temperature, "SP": coolant, "Pump": pump, "Stages": stages, "P": pressure, "Name": name}
    async with server:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            verb, node, *value = line.split()
            if verb == "get":
                print((await nodes[node].read_data_value(False)).Value.Value, flush=True)
                continue
            quality = {"bad": ua.StatusCodes.BadSensorFailure, "uncertain": ua.StatusCodes.UncertainLastUsableValue}
            answer = ua.DataValue(
                ua.Variant(float(value[0]) if value else 1.0, ua.VariantType.Double),
                ua.StatusCode(ua.UInt32(quality.get(verb, 0))),
                datetime.now(timezone.utc),
            )
            await nodes[node].write_value(answer)
            print("done", flush=True)


async def _variable(parent, space: int, tag: str, name: str, value, limits, unit: str):
    variable = await parent.add_variable(f"ns={space};s={tag}", f"{space}:{name}", value)
    await variable.add_property(0, "EURange", ua.Range(*map(float, limits)))
    if unit:
        await variable.add_property(0, "EngineeringUnits", ua.EUInformation(DisplayName=ua.LocalizedText(unit)))
    return variable


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
