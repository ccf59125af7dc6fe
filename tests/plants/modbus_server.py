"""pymodbus' own server with two devices: ``python -m tests.plants.modbus_server PORT``.

Device 1: holding and input registers and coils 0 to 199, all 0. Device 7: the same.
Lines: ``set DEVICE FUNCTION ADDRESS WORD...``, ``get DEVICE FUNCTION ADDRESS COUNT``, ``fault ADDRESS CODE`` (0: none).
"""

from __future__ import annotations

import asyncio
import sys

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

faults: dict[int, int] = {}


async def fail(function_code, start_address, address, count, current_registers, set_values):
    return next((ExcCodes(code) for a, code in faults.items() if code and address <= a < address + count), None)


def device(number: int) -> SimDevice:
    bits = [SimData(0, values=[False] * 200, datatype=DataType.BITS)]
    words = [SimData(0, values=[0] * 200, datatype=DataType.REGISTERS)]
    return SimDevice(number, simdata=(bits, bits, words, words), action=fail)


async def main(port: int) -> None:
    server = ModbusTcpServer([device(1), device(7)], address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if verb == "fault":
            faults[numbers[0]] = numbers[1]
            print("done", flush=True)
        elif verb == "get":
            print(*map(int, await server.async_getValues(*numbers)), flush=True)
        else:
            await server.async_setValues(*numbers[:3], numbers[3:])
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
