"""Modbus/TCP (Modbus Application Protocol V1.1b3): signals are registers and coils of one or more devices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rlbridge.plants.drivers.modbus_register import Register, read_tag
from rlbridge.plants.drivers.needs import needs
from rlbridge.plants.drivers.seconds import seconds
from rlbridge.plants.plant import PlantLost, PlantRefused, Reading, Signal, Value

with needs("modbus"):
    from pymodbus.client import ModbusTcpClient
    from pymodbus.constants import ExcCodes
    from pymodbus.exceptions import ModbusException
    from pymodbus.pdu import ModbusPDU

# What the standard's exception codes mean for a reading: these are mistakes of the configuration, the others (device
# failure, busy, gateway target silent) are a value that cannot be had now.
_CONFIGURATION = (ExcCodes.ILLEGAL_FUNCTION, ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE)
_MOST_REGISTERS = 125  # of one request, in the standard


class ModbusPlant:
    """A plant behind Modbus/TCP. A signal's ``tag`` says where it is, such as ``{holding: 100, type: float32}``.

    NaN, a raw number among the tag's ``bad``, and a register that the device answers with an exception are bad. Modbus
    knows no time: a reading's is that of its arrival. Neighbouring registers are read in one request. After a failure
    the next call connects anew: an answer that is late must not be taken for the next one's.

    Args:
        signals: whose tags are mappings; see ``Register``.
        safe_action: what to go to when nobody is in control.
        folder: unused.
        endpoint: ``tcp://host:port``; the port is 502 if not given.
        timeout: seconds for each request; a call with several begins none after that.
        device_id: of tags that have none.

    Raises:
        ValueError: an endpoint or a tag that cannot be; says what is allowed.
    """

    def __init__(
        self,
        signals: Sequence[Signal],
        safe_action: Mapping[str, float],
        folder: Path,
        *,
        endpoint: str,
        timeout: float | str = 2.0,
        device_id: int = 1,
    ) -> None:
        del folder
        self.signals = signals
        self._safe_action = dict(safe_action)
        self._registers = {signal.name: read_tag(signal, device_id) for signal in signals}
        self._endpoint, self._timeout = endpoint, seconds("timeout", timeout)
        parts = urlsplit(endpoint)
        if parts.scheme != "tcp" or not parts.hostname:
            raise ValueError(f"endpoint {endpoint!r}: a Modbus/TCP endpoint is tcp://HOST:PORT")
        self._client = ModbusTcpClient(parts.hostname, port=parts.port or 502, timeout=self._timeout, retries=0)

    def start(self, seed: int | None, options: Mapping[str, Any]) -> None:
        """Connect and read every register once.

        Raises:
            PlantRefused: the device has none at a tag's address.
            PlantLost: the device does not answer.
        """
        for names, answer in self._blocks("looking for its registers"):
            if answer.isError() and answer.exception_code in _CONFIGURATION:
                first = self._registers[names[0]]
                raise PlantRefused(
                    f"signal{'s' * (len(names) > 1)} {', '.join(map(repr, names))}: {self._endpoint}, device "
                    f"{first.device_id}, answers {ExcCodes(answer.exception_code).name} for {first.table} "
                    f"{first.address}. Addresses begin with 0: a manual's 40101 is holding: 100."
                )

    def read(self) -> Reading:
        values: dict[str, Value] = {}
        for names, answer in self._blocks("reading"):
            if answer.isError():
                continue
            first = self._registers[names[0]]
            words = [int(bit) for bit in answer.bits] if first.is_bit else list(answer.registers)
            for name in names:
                register = self._registers[name]
                begin = register.address - first.address
                value = register.decode(words[begin : begin + register.count])
                if value is not None:
                    values[name] = value
        return Reading(values, time.time(), frozenset(set(self._registers) - set(values)))

    def write(self, commands: Mapping[str, Value]) -> None:
        """Write one after the other.

        Raises:
            PlantLost: the device does not answer, or refused a value; names it.
        """
        until = time.monotonic() + self._timeout
        for name, value in commands.items():
            register = self._registers[name]
            words = register.encode(float(value))
            where: dict[str, Any] = {"address": register.address, "device_id": register.device_id}
            if register.is_bit:
                answer = self._ask("writing", until, self._client.write_coil, value=bool(words[0]), **where)
            elif len(words) == 1:  # some devices know no other way for one, and none for several
                answer = self._ask("writing", until, self._client.write_register, value=words[0], **where)
            else:
                answer = self._ask("writing", until, self._client.write_registers, values=words, **where)
            if answer.isError():
                raise PlantLost(f"{self._endpoint} refused to write {name}={value} ({_meaning(answer)})")

    def safe_action(self) -> Mapping[str, float]:
        return self._safe_action

    def close(self) -> None:
        self._client.close()

    def _blocks(self, what: str) -> Iterator[tuple[list[str], ModbusPDU]]:
        """Read everything: the signals of each request, in the order of their addresses, and its answer."""
        until = time.monotonic() + self._timeout
        ask = {
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
        }
        for names in _neighbours(self._registers):
            first, last = self._registers[names[0]], self._registers[names[-1]]
            count = last.address + last.count - first.address
            where: dict[str, Any] = {"address": first.address, "count": count, "device_id": first.device_id}
            yield names, self._ask(what, until, ask[first.table], **where)

    def _ask(self, what: str, until: float, request: Any, **arguments: Any) -> ModbusPDU:
        why = f"gave no answer within {self._timeout:g} s: it hangs, or is cut off"
        try:
            if time.monotonic() < until:
                if not self._client.connected and not self._client.connect():
                    raise PlantLost(f"cannot connect to {self._endpoint}: is it running, and is this its port?")
                return request(**arguments)  # type: ignore[no-any-return]
        except (ModbusException, OSError) as error:
            # pymodbus says the same for a silent device and a closed connection; only the clock tells them apart.
            if time.monotonic() < until - 0.1 * self._timeout:
                why = f"closed the connection or answered nonsense: {error}"
        self._client.close()
        raise PlantLost(f"{self._endpoint} {why} (while {what})")


def _neighbours(registers: Mapping[str, Register]) -> list[list[str]]:
    """The names, grouped into what one request can read: same device and table, no gap, not too many."""
    groups: list[list[str]] = []
    end: tuple[int, str, int] | None = None
    begin = 0
    for name, r in sorted(registers.items(), key=lambda item: (item[1].device_id, item[1].table, item[1].address)):
        if end == (r.device_id, r.table, r.address) and r.address + r.count - begin <= _MOST_REGISTERS:
            groups[-1].append(name)
        else:
            groups.append([name])
            begin = r.address
        end = (r.device_id, r.table, r.address + r.count)
    return groups


def _meaning(answer: ModbusPDU) -> str:
    try:
        return ExcCodes(answer.exception_code).name
    except ValueError:
        return f"exception {answer.exception_code}"
