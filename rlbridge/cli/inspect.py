"""``rlbridge inspect TARGET``"""

from __future__ import annotations

import json
import statistics
import time
from typing import Annotated, Any

import typer

from rlbridge.cli.failures import reported


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("inspect", short_help="Show spaces, capabilities, limits.")(inspect)


def inspect(
    target: Annotated[
        str, typer.Argument(help="grpc://HOST:PORT[/ENVIRONMENT], unix:///PATH, shm:///PATH, or a local name.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an environment's spaces, and its server's capabilities, limits and round-trip time."""
    from rlbridge.client.target import is_remote

    with reported():
        facts = _remote(target) if is_remote(target) else _local(target)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"{name}:")
            for item in value:
                typer.echo("  - " + ", ".join(f"{key} {_plain(entry)}" for key, entry in item.items()))
        elif isinstance(value, dict):
            typer.echo(f"{name}: " + ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items()))
        else:
            typer.echo(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _remote(target: str) -> dict[str, Any]:
    from rlbridge.client.connect import describe, open_link
    from rlbridge.client.target import parse_target
    from rlbridge.v1 import env_pb2
    from rlbridge.wire import decode_space

    server, spaces = describe(target)
    link = open_link(parse_target(target))
    try:
        times = []
        for _ in range(21):
            started = time.perf_counter()
            link.call(env_pb2.DescribeRequest(), 10.0)
            times.append(time.perf_counter() - started)
    finally:
        link.close()
    modes = env_pb2.AutoresetMode
    limits = server.limits
    return {
        "target": target,
        "server": server.server,
        "protocol_versions": list(server.protocol_versions),
        "capabilities": list(server.capabilities),
        "environments": [
            {
                "name": offer.name,
                "summary": offer.summary or "-",
                "render_modes": list(offer.render_modes),
                "autoreset_modes": [
                    modes.Name(mode).removeprefix("AUTORESET_MODE_").lower() for mode in offer.autoreset_modes
                ],
            }
            for offer in server.environments
        ],
        "observation_space": str(decode_space(spaces.observation_space)),
        "action_space": str(decode_space(spaces.action_space)),
        "limits": {
            "max_sessions": limits.max_sessions,
            "open_sessions": limits.open_sessions,
            "max_envs": limits.max_envs,
            "max_message_bytes": limits.max_message_bytes,
            "kept_outcomes": limits.kept_outcomes,
            "lease_s": limits.lease_ms / 1000,
        },
        "round_trip_ms": round(statistics.median(times[1:]) * 1000, 3),
    }


def _local(target: str) -> dict[str, Any]:
    from rlbridge.client import make

    env = make(target)
    try:
        return {
            "target": target,
            "server": "none: made in this process",
            "observation_space": str(env.observation_space),
            "action_space": str(env.action_space),
            "render_modes": [str(mode) for mode in (env.metadata or {}).get("render_modes", [])],
        }
    finally:
        env.close()
