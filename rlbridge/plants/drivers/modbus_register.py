"""Where a signal lives in a Modbus device, and how its number is written there."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlbridge.plants.plant import Signal

Table = Literal["holding", "input", "coil", "discrete"]
_TABLES: tuple[Table, ...] = ("holding", "input", "coil", "discrete")
_FORMATS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
_KEYS = ("type", "scale", "offset", "word_order", "device_id", "bad")


@dataclass(frozen=True)
class Register:
    """One number in a device: value = raw * scale + offset.

    Attributes:
        table: ``holding``, ``input``, ``coil`` or ``discrete``.
        address: as in the protocol, from 0 on; a manual's 40001 is holding 0.
        type: of the raw number; coils and discrete inputs have none.
        word_order: of a number in several registers: ``big`` = the high word first.
        device_id: the unit behind this address.
        bad: raw numbers that the device gives where it has none, such as 32767.
    """

    table: Table
    address: int
    type: str = "int16"
    scale: float = 1.0
    offset: float = 0.0
    word_order: Literal["big", "little"] = "big"
    device_id: int = 1
    bad: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        """How many registers, or bits, it takes."""
        return 1 if self.is_bit else struct.calcsize(_FORMATS[self.type]) // 2

    @property
    def is_bit(self) -> bool:
        return self.table in ("coil", "discrete")

    def decode(self, words: Sequence[int]) -> float | None:
        """The value in these registers; None if it is bad: NaN, infinite, or one of ``bad``."""
        if self.is_bit:
            raw = float(words[0])
        else:
            ordered = words if self.word_order == "big" else words[::-1]
            data = struct.pack(f">{len(words)}H", *ordered)
            raw = float(struct.unpack(f">{_FORMATS[self.type]}", data)[0])
        return None if raw in self.bad or not math.isfinite(raw) else raw * self.scale + self.offset

    def encode(self, value: float) -> list[int]:
        """The registers for this value; integers are rounded.

        Raises:
            struct.error, OverflowError, ValueError: the type cannot hold it.
        """
        raw = (value - self.offset) / self.scale
        if self.is_bit:
            return [int(raw >= 0.5)]
        kind = _FORMATS[self.type]
        data = struct.pack(f">{kind}", raw if kind in "fd" else round(raw))
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        return words if self.word_order == "big" else words[::-1]


def read_tag(signal: Signal, device_id: int) -> Register:
    """The register of a signal, from its ``tag``.

    Raises:
        ValueError: no such table, type or key, an address beyond 65535, an action in a table that cannot be written, or
            limits that the type cannot hold.
    """
    where = f"signal {signal.name!r}: tag {signal.tag!r}"
    tag: Mapping[str, Any] = signal.tag if isinstance(signal.tag, Mapping) else {}
    tables = [table for table in _TABLES if table in tag]
    if len(tables) != 1:
        raise ValueError(f"{where} must be a mapping with one of {', '.join(_TABLES)}, such as {{holding: 100}}")
    table = tables[0]
    unknown = set(tag) - {table, *_KEYS}
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(sorted(map(str, unknown)))}; keys: {', '.join(_KEYS)}")
    kind, order = tag.get("type", "int16"), tag.get("word_order", "big")
    if kind not in _FORMATS:
        raise ValueError(f"{where}: type {kind!r}; types: {', '.join(_FORMATS)}")
    if order not in ("big", "little"):
        raise ValueError(f"{where}: word_order {order!r}; it is big (the high word first) or little")
    try:
        address, scale, offset = int(tag[table]), float(tag.get("scale", 1)), float(tag.get("offset", 0))
        bad = tag.get("bad", ())
        sentinels = tuple(float(raw) for raw in (bad if isinstance(bad, (list, tuple)) else [bad]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    register = Register(table, address, kind, scale, offset, order, int(tag.get("device_id", device_id)), sentinels)
    if not 0 <= address <= 0x10000 - register.count:
        raise ValueError(f"{where}: address {address} is not within 0 to 65535; a manual's 40101 is holding: 100")
    if not math.isfinite(scale) or scale == 0:
        raise ValueError(f"{where}: scale {scale:g} must be a number other than 0")
    if signal.role in ("action", "heartbeat"):
        _check_action(signal, register, where)
    return register


def _check_action(signal: Signal, register: Register, where: str) -> None:
    if register.table not in ("holding", "coil"):
        raise ValueError(f"{where}: an action is written, and only holding and coil can be")
    for limit in (signal.low, signal.high):
        try:
            register.encode(limit)
        except (struct.error, OverflowError, ValueError) as error:
            raise ValueError(
                f"{where}: the limit {limit:g} does not fit into {register.type} with scale {register.scale:g} and "
                f"offset {register.offset:g} ({error})"
            ) from error
