"""``rlbridge bench TARGET``"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlbridge.cli.failures import reported

if TYPE_CHECKING:
    from rlbridge.client.measure import Measurement

_MEANING = {
    "encode": "here: packing the action, serialising the request",
    "wire": "there and back: transports, network, threads that wake up",
    "queue": "at the server, beside the environment: waiting for its turn, bookkeeping, packing",
    "env": "in the environment",
    "decode": "here: parsing the answer, making arrays of it",
}


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bench", short_help="Steps per second, and where the time of a step goes.")(bench)


def bench(
    target: Annotated[
        str, typer.Argument(help="grpc://HOST:PORT[/ENVIRONMENT], unix:///PATH, shm:///PATH, or a local name.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Messages there and back to measure.")] = 2_000,
    num_envs: Annotated[
        int, typer.Option(min=0, help="Environments in one batch, stepped by one message; 0: a single one.")
    ] = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Also a plant on the wall clock: it gets random actions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how fast an environment steps over a target, and where the time of a step goes.

    Opens a session of its own and sends random actions. A large env share: make the environment faster. A large wire
    share: put more environments in a batch (--num-envs tells what that gives), or come nearer. A large encode or decode
    share: send smaller observations. Figures move with what else the machine does: compare two targets in turn, not
    today with yesterday. The same name without a server (CartPole-v1) tells what the environment alone can do.
    """
    from rlbridge.client.measure import LivePlant, measure

    with reported():
        try:
            found = measure(target, steps, num_envs, live)
        except LivePlant as error:
            raise typer.BadParameter(str(error), param_hint="TARGET") from error
    if as_json:
        typer.echo(json.dumps({"target": target, **asdict(found)}, indent=2))
        return
    for line in _lines(target, found):
        typer.echo(line)


def _lines(target: str, found: Measurement) -> list[str]:
    envs = f"{found.num_envs} environments a message" if found.num_envs else "one environment"
    lines = [
        f"{target}: {found.steps:,} messages, {envs}",
        f"steps/s   {found.steps_per_second:12,.0f}",
        f"message   {found.median_us:12,.1f} us, the median; {found.p95_us:,.1f} us, the 95th percentile",
    ]
    total = sum(found.parts_us.values()) or 1.0
    for part, us in found.parts_us.items():
        if found.server or us:
            lines.append(f"  {part:8}{us:12,.1f} us {us / total:4.0%}  {_MEANING[part]}")
    if found.server:
        lines.append(f"bytes     {found.request_bytes:12,} there, {found.answer_bytes:,} back")
    return lines
