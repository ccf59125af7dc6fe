"""``rlbridge plant``: look at plants."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli import operate
from rlbridge.cli.failures import BAD_INPUT, reported

plant = typer.Typer(help="Operate plants, and look at them.", no_args_is_help=True, rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    operate.add_to(plant)
    app.add_typer(plant, name="plant", short_help="Operate a plant: e-stop, modes; draft a serve.yaml from a server.")


@plant.callback()
def root() -> None:
    """Operate plants, and look at them."""


@plant.command("discover")
def discover(
    url: Annotated[str, typer.Argument(help="opc.tcp://HOST:PORT[/PATH]")],
    out: Annotated[Path | None, typer.Option(help="Write the draft there; an existing file is left alone.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for all of it.")] = 30.0,
    security: Annotated[
        str, typer.Option(help="Policy,Mode,certificate,private key, as in Basic256Sha256,SignAndEncrypt,c.pem,k.pem")
    ] = "",
    user: Annotated[str, typer.Option(help="A user name; else anonymous.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="A file with the password of --user.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tags as JSON instead.")] = False,
) -> None:
    """Draft a serve.yaml from an OPC UA server's numbers, with their ranges and units.

    Writes nothing to the server. The draft only watches (gate mode observe) until somebody who knows the plant has gone
    through it.

    Examples:

      rlbridge plant discover opc.tcp://192.168.0.10:4840 --out serve.yaml
    """
    if not url.startswith("opc.tcp://"):
        raise typer.BadParameter(f"{url!r}: this looks at OPC UA servers, opc.tcp://HOST:PORT")
    if out is not None and out.exists():
        typer.echo(f"rlbridge: {out} exists already; remove it or name another file with --out", err=True)
        raise typer.Exit(BAD_INPUT)
    with reported():
        from rlbridge.plants.drivers.opcua_discover import discover as look
        from rlbridge.plants.drivers.opcua_discover import draft

        password = password_file.read_text().strip() if password_file else ""
        tags = look(url, timeout, security, user, password)
    if as_json:
        typer.echo(json.dumps([asdict(tag) for tag in tags]))
    elif out is None:
        typer.echo(draft(url, tags), nl=False)
    else:
        out.write_text(draft(url, tags))
        ranged = sum(tag.low is not None for tag in tags)
        typer.echo(f"{out}: {len(tags)} tags, {len(tags) - ranged} of them commented out: the server gives no range")
