"""``rlbridge audit``: is what a gate wrote down still what it wrote?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli.failures import FAILED, reported

audit = typer.Typer(help="Check what a plant's gate wrote down.", no_args_is_help=True, rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(audit, name="audit", short_help="Check a plant's audit file.")


@audit.callback()
def root() -> None:
    """Check what a plant's gate wrote down."""


@audit.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="An audit.jsonl.")],
    head: Annotated[str | None, typer.Option(help="A hash that was noted down before: some line must have it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Follow the chain of hashes, make every decision again, and compare what was applied.

    Exit code 1 at the first line that is wrong. Note down the head that is printed: only with it will a later check
    notice that lines were cut off the end.

    Examples:

      rlbridge audit verify reactor/audit.jsonl
    """
    from rlbridge.plants.audit import AuditBroken
    from rlbridge.plants.replay import verify as follow

    with reported():
        try:
            done = follow(file, head)
        except (AuditBroken, OSError) as error:
            typer.echo(json.dumps({"error": str(error)}) if as_json else f"rlbridge: {error}", err=not as_json)
            raise typer.Exit(FAILED) from error
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(
            f"{file}: in order. {done.lines} lines, {done.decisions} decisions made again with the same outcome, "
            f"{done.written} of them written to the plant.\nhead {done.head}"
        )
