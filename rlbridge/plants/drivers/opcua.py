"""OPC UA (IEC 62541): signals are a server's variables, read in one call and written in one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

from rlbridge.plants.drivers.opcua_link import Client, OpcUaLink, UaStringParsingError, security_in, ua
from rlbridge.plants.drivers.seconds import seconds
from rlbridge.plants.plant import PlantLost, PlantRefused, Reading, Signal, Value


class OpcUaPlant:
    """A plant behind an OPC UA server. A signal's ``tag`` is its node id, such as ``ns=2;s=Reactor.T``.

    A value of a quality that is not Good (Uncertain too), a value that is no number, and NaN are bad. A server accepts
    writes outside a variable's EURange, so it is the gate that limits. After a failure the next call connects anew.

    Args:
        signals: whose tags are node ids.
        safe_action: what to go to when nobody is in control.
        folder: where relative files are: ``password_file``, certificates and keys.
        endpoint: ``opc.tcp://host:port[/path]``.
        timeout: seconds for each call, connecting included.
        security: ``Policy,Mode,certificate,private key[,server certificate]`` such as
            ``Basic256Sha256,SignAndEncrypt,client.pem,client-key.pem``; empty for none.
        user, password_file: a user name, and a file with the password; empty for an anonymous session.

    Raises:
        ValueError: a signal without a node id, a ``security`` that cannot be.
        OSError: the password file cannot be read.
    """

    def __init__(
        self,
        signals: Sequence[Signal],
        safe_action: Mapping[str, float],
        folder: Path,
        *,
        endpoint: str,
        timeout: float | str = 2.0,
        security: str = "",
        user: str = "",
        password_file: str = "",
    ) -> None:
        self.signals = signals
        self._safe_action = dict(safe_action)
        self._nodes = {signal.name: _node_id(signal) for signal in signals}
        self._types: dict[str, ua.VariantType] = {}
        password = (folder / password_file).read_text().strip() if password_file else ""
        self._link = OpcUaLink(endpoint, seconds("timeout", timeout), security_in(folder, security), user, password)

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """Connect and see that every tag is there.

        Raises:
            PlantRefused: a tag that the server does not know, or that is no number.
            PlantLost: the server does not answer.
        """
        answers = self._link.call("looking for its tags", self._read_all)
        for name, answer in zip(self._nodes, answers, strict=True):
            status = _status(answer)
            if status.name in ("BadNodeIdUnknown", "BadNodeIdInvalid", "BadAttributeIdInvalid", "BadNotReadable"):
                raise PlantRefused(
                    f"signal {name!r}: the server {self._link.endpoint} has no readable variable "
                    f"{self._nodes[name].to_string()!r} ({status.name}). `rlbridge plant discover "
                    f"{self._link.endpoint}` lists those there are."
                )
        self._types = self._link.call("asking for the types of its tags", self._read_types)

    def read(self) -> Reading:
        answers = self._link.call("reading", self._read_all)
        values: dict[str, Value] = {}
        bad = set()
        times = []
        for signal, answer in zip(self.signals, answers, strict=True):
            value = _number(answer)
            if value is None:
                bad.add(signal.name)
            else:
                values[signal.name] = value
            stamp = answer.SourceTimestamp or answer.ServerTimestamp
            if signal.role in ("observation", "monitor") and stamp is not None:
                times.append((stamp if stamp.tzinfo else stamp.replace(tzinfo=timezone.utc)).timestamp())
        # Servers stamp a value when it changed: a constant one is old and yet true, so the newest stamp tells that the
        # plant is alive.
        return Reading(values, max(times, default=time.time()), frozenset(bad))

    def write(self, commands: Mapping[str, Value]) -> None:
        """Write in one call.

        Raises:
            PlantLost: the server does not answer, or refused one of the values; names it.
        """
        values = {name: self._variant(name, float(value)) for name, value in commands.items()}

        async def work(client: Client) -> list[ua.StatusCode]:
            return await client.write_values([client.get_node(self._nodes[n]) for n in values], values.values(), False)

        statuses = self._link.call("writing", work) if values else []
        refused = [f"{n}={commands[n]} ({s.name})" for n, s in zip(values, statuses, strict=True) if not s.is_good()]
        if refused:
            raise PlantLost(f"the OPC UA server {self._link.endpoint} refused to write {', '.join(refused)}")

    def safe_action(self) -> Mapping[str, float]:
        return self._safe_action

    def close(self) -> None:
        self._link.close()

    async def _read_all(self, client: Client) -> list[ua.DataValue]:
        return await client.read_attributes([client.get_node(node) for node in self._nodes.values()])

    async def _read_types(self, client: Client) -> dict[str, ua.VariantType]:
        names = [signal.name for signal in self.signals if signal.role in ("action", "heartbeat")]
        return {name: await client.get_node(self._nodes[name]).read_data_type_as_variant_type() for name in names}

    def _variant(self, name: str, value: float) -> ua.DataValue:
        kind = self._types.get(name, ua.VariantType.Double)
        if kind is ua.VariantType.Boolean:
            return ua.DataValue(ua.Variant(value >= 0.5, kind))
        if kind in (ua.VariantType.Float, ua.VariantType.Double):
            return ua.DataValue(ua.Variant(value, kind))
        return ua.DataValue(ua.Variant(round(value), kind))


def _node_id(signal: Signal) -> ua.NodeId:
    try:
        return ua.NodeId.from_string(str(signal.tag or ""))
    except UaStringParsingError as error:
        raise ValueError(
            f"signal {signal.name!r}: tag {signal.tag!r} is no OPC UA node id; one looks like ns=2;s=Reactor.T"
        ) from error


def _status(answer: ua.DataValue) -> ua.StatusCode:
    return answer.StatusCode or ua.StatusCode(ua.UInt32(0))


def _number(answer: ua.DataValue) -> float | None:
    """The value, if it is a finite number of good quality."""
    value = answer.Value.Value if answer.Value is not None else None
    if not _status(answer).is_good() or not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        return None
    return float(value)
