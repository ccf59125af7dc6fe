"""What an OPC UA server offers, as the draft of a serve.yaml that only watches."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from rlbridge.plants.drivers.opcua_link import Client, OpcUaLink, UaError, security_in, ua

NUMBERS = {
    getattr(ua.VariantType, name)
    for name in ["Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double"]
}
_MOST_TAGS = 2_000
_DEEPEST = 12


@dataclass(frozen=True)
class Tag:
    """A variable that holds one number.

    Attributes:
        node: its node id.
        path: its browse names, from the Objects folder down.
        writable: by this client.
        value: right now; None if it is not good.
        low, high: its EURange (Part 8 of the standard), None if it has none.
        unit: the display name of its EngineeringUnits.
    """

    node: str
    path: tuple[str, ...]
    writable: bool
    value: float | None
    low: float | None
    high: float | None
    unit: str


def discover(endpoint: str, timeout: float = 30.0, security: str = "", user: str = "", password: str = "") -> list[Tag]:
    """The numbers below a server's Objects folder, without its description of itself.

    Raises:
        PlantLost: no answer, or not all of it within ``timeout`` seconds.
    """
    link = OpcUaLink(endpoint, timeout, security_in(Path.cwd(), security), user, password)
    try:
        return link.call("browsing its tags", _tags)
    finally:
        link.close()


async def _tags(client: Client) -> list[Tag]:
    found: list[Tag] = []
    seen: set[ua.NodeId] = set()
    async for node, path in _variables(client, client.nodes.objects.nodeid, (), seen):
        tag = await _tag(client, node, path)
        if tag is not None:
            found.append(tag)
        if len(found) == _MOST_TAGS:
            break
    return found


async def _variables(
    client: Client, parent: ua.NodeId, path: tuple[str, ...], seen: set[ua.NodeId]
) -> AsyncIterator[tuple[ua.NodeId, tuple[str, ...]]]:
    for child in await client.get_node(parent).get_children_descriptions():
        node = child.NodeId
        is_property = child.TypeDefinition == ua.NodeId(ua.Int32(ua.ObjectIds.PropertyType))
        if child.NodeClass not in (ua.NodeClass.Object, ua.NodeClass.Variable):
            continue
        if node in seen or is_property or node == client.nodes.server.nodeid or len(path) == _DEEPEST:
            continue
        seen.add(node)
        below = (*path, str(child.BrowseName.Name))
        if child.NodeClass == ua.NodeClass.Variable:
            yield node, below
        async for inner in _variables(client, node, below, seen):
            yield inner


async def _tag(client: Client, node_id: ua.NodeId, path: tuple[str, ...]) -> Tag | None:
    node = client.get_node(node_id)
    try:
        if await node.read_data_type_as_variant_type() not in NUMBERS:
            return None
        answer = await node.read_data_value(raise_on_bad_status=False)
        if answer.Value is not None and isinstance(answer.Value.Value, list):
            return None
        access = await node.get_user_access_level()
        properties = {str(p.BrowseName.Name): p.NodeId for p in await _properties(node)}
        limits = await _property(client, properties.get("EURange"))
        unit = await _property(client, properties.get("EngineeringUnits"))
    except UaError:  # of this one tag: not readable by this user, or gone meanwhile
        return None
    good = answer.StatusCode is None or answer.StatusCode.is_good()
    low, high = (limits.Low, limits.High) if isinstance(limits, ua.Range) and limits.Low < limits.High else (None, None)
    return Tag(
        node_id.to_string(),
        path,
        ua.AccessLevel.CurrentWrite in access,
        float(answer.Value.Value) if good and answer.Value is not None and answer.Value.Value is not None else None,
        low,
        high,
        str(unit.DisplayName.Text or "") if isinstance(unit, ua.EUInformation) else "",
    )


async def _properties(node: object) -> list[ua.ReferenceDescription]:
    return await node.get_children_descriptions(refs=ua.ObjectIds.HasProperty)  # type: ignore[attr-defined,no-any-return]


async def _property(client: Client, node: ua.NodeId | None) -> object:
    return None if node is None else await client.get_node(node).read_value()


def draft(endpoint: str, tags: list[Tag]) -> str:
    """A serve.yaml of these tags. It loads as it is, and it only watches: ``gate.mode`` is ``observe``.

    What can be written becomes an action, with the value of this moment as its safe one; a tag without a range is
    commented out, for somebody who knows the plant to complete.
    """
    names = _names(tags)
    lines = [
        f"# Drafted from {endpoint}. These are the server's own words: go through every line with",
        "# somebody who knows the plant. The gate only watches until mode: is changed.",
        "driver: opcua",
        f"endpoint: {endpoint}",
        "signals:",
    ]
    complete = [(name, tag) for name, tag in zip(names, tags, strict=True) if tag.low is not None]
    lines += [_line(name, tag, "") for name, tag in complete]
    lines += [_line(name, tag, "# ") for name, tag in zip(names, tags, strict=True) if tag.low is None]
    safe = [f"{name}: {_safe(tag):g}" for name, tag in complete if tag.writable]
    lines += [
        "clock: {period: 1 s, on_miss: hold}",
        "gate:",
        "  mode: observe",
        f"  safe_action: {{{', '.join(safe)}}}  # the values of the moment of drafting; decide what is safe",
        "task: {reward: '0', horizon: 600}  # a formula over the signals, or file.py:function",
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, tag: Tag, comment: str) -> str:
    role = "action" if tag.writable else "observation"
    unit = f"unit: {_quoted(tag.unit)}, " if tag.unit else ""
    limits = "low: ?, high: ?" if tag.low is None else f"low: {tag.low:g}, high: {tag.high:g}"
    text = f"  {comment}{name}: {{role: {role}, {unit}{limits}, tag: {_quoted(tag.node)}}}"
    now = "not good" if tag.value is None else f"{tag.value:g}"
    return f"{text}  # {'/'.join(tag.path)}, now {now}".replace("\n", " ")


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar (YAML 1.2, 7.3.1): backslash, quotes and control characters escaped."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


def _safe(tag: Tag) -> float:
    low, high = tag.low or 0.0, tag.high or 0.0
    return low if tag.value is None or math.isnan(tag.value) else min(max(tag.value, low), high)


def _names(tags: list[Tag]) -> list[str]:
    """The last browse name of each as an identifier, with as many of those above it as it takes to be unique."""
    words = [[re.sub(r"\W+", "_", part).strip("_").lower() or "tag" for part in tag.path] for tag in tags]
    names: list[str] = []
    for own in words:
        name = own[-1]
        for depth in range(2, len(own) + 1):
            if sum(other[-depth + 1 :] == own[-depth + 1 :] for other in words) == 1:
                break
            name = "_".join(own[-depth:])
        name = f"_{name}" if name[0].isdigit() else name
        while name in names:
            name += "_2"
        names.append(name)
    return names
