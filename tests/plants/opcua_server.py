"""asyncua's own server with a small plant: ``python -m tests.plants.opcua_server PORT [FOLDER]``.

With a folder it wants encryption and the user ``operator`` with the password ``secret``, and leaves certificates and
keys for itself and a client there.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timezone
from pathlib import Path

from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from cryptography.x509.oid import ExtendedKeyUsageOID


async def main(port: int, folder: Path | None) -> None:
    server = Server(user_manager=Operators() if folder else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    if folder:
        await _encrypt(server, folder)
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


class Operators:
    def get_user(self, iserver, username=None, password=None, certificate=None):
        return User(role=UserRole.User) if (username, password) == ("operator", "secret") else None


async def _encrypt(server: Server, folder: Path) -> None:
    for name, uri, use in (
        ("server", "urn:freeopcua:python:server", ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", "urn:rlbridge:test:client", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        files = folder / f"{name}-key.pem", folder / f"{name}.der"
        await setup_self_signed_certificate(*files, uri, "127.0.0.1", [use], {"commonName": name})
    await server.load_certificate(folder / "server.der")
    await server.load_private_key(folder / "server-key.pem")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_identity_tokens([ua.UserNameIdentityToken])


async def _variable(parent, space: int, tag: str, name: str, value, limits, unit: str):
    variable = await parent.add_variable(f"ns={space};s={tag}", f"{space}:{name}", value)
    await variable.add_property(0, "EURange", ua.Range(*map(float, limits)))
    if unit:
        await variable.add_property(0, "EngineeringUnits", ua.EUInformation(DisplayName=ua.LocalizedText(unit)))
    return variable


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else None))
