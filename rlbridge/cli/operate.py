"""``rlbridge plant init|estop|clear|mode|confirm|status``: what an operator does, on the plant's own machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlbridge.cli.failures import BAD_INPUT

if TYPE_CHECKING:
    from rlbridge.plants.operator import OperatorFile

Place = Annotated[Path, typer.Argument(help="The plant's serve.yaml, its folder, or its operator's file.")]
TokenFile = Annotated[Path | None, typer.Option(help="The operator's token; default: beside the operator's file.")]


class Mode(str, Enum):
    """What the gate does with actions."""

    observe = "observe"
    shadow = "shadow"
    advise = "advise"
    active = "active"


def add_to(plant: typer.Typer) -> None:
    """Add the verbs."""
    plant.command("init")(init)
    plant.command("estop")(estop)
    plant.command("clear")(clear)
    plant.command("mode")(mode)
    plant.command("confirm")(confirm)
    plant.command("status")(status)


def init(place: Place) -> None:
    """Make the operator's file and its token. What is there already stays.

    Whoever may read the token is an operator: set its owner and group accordingly; the server must read it, too.
    """
    with _desk(place) as desk:
        there = desk.token_path.exists()
        desk.create()
        kept = "was there already, and stays; " if there else ""
        typer.echo(f"{desk.path}\n{desk.token_path}: {kept}keep it from everybody who is no operator")


def estop(place: Place) -> None:
    """Stop the plant: the safe action at once, in any mode that writes, until an operator clears it. Needs no token."""
    from rlbridge.plants.operator import who

    with _desk(place) as desk:
        desk.command("estop", who(), None)
        typer.echo(f"stopped; `rlbridge plant clear {place}` ends it")


def clear(place: Place, token_file: TokenFile = None) -> None:
    """End an e-stop and free latched interlocks."""
    _signed(place, token_file, "clear")


def mode(place: Place, to: Annotated[Mode, typer.Argument()], token_file: TokenFile = None) -> None:
    """Switch the gate's mode, from the next period on, whatever serve.yaml says."""
    _signed(place, token_file, "mode", mode=to.value)


def confirm(
    place: Place,
    advice: Annotated[int, typer.Argument(min=0, help="The line's number `n` in the audit, as `status` shows it.")],
    token_file: TokenFile = None,
) -> None:
    """In mode advise: let one advised action through, by its number. It still passes the gate."""
    _signed(place, token_file, "confirm", advice=advice)


def status(
    place: Place, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """What is in force, and the last line of the audit."""
    from rlbridge.plants.audit_tail import AuditTail
    from rlbridge.plants.operator import audit_file

    with _desk(place) as desk:
        standing = asdict(desk.standing())
        standing["latched"] = sorted(standing["latched"])
        last = next(reversed(AuditTail(audit_file(place)).records()), None)
    if as_json:
        typer.echo(json.dumps({**standing, "last": last}))
        return
    typer.echo(f"e-stop     {standing['estop'] or 'no'}")
    typer.echo(f"mode       {standing['mode'] or 'as the gate: section says; no operator has switched it'}")
    typer.echo(f"latched    {', '.join(standing['latched']) or 'nothing'}")
    for key in ("n", "event", "mode", "requested", "applied", "would_apply", "why"):
        if last and key in last:
            typer.echo(f"last {key:<12} {last[key]}")


def _signed(place: Path, token_file: Path | None, verb: str, **arguments: object) -> None:
    from rlbridge.plants.operator import who

    with _desk(place) as desk:
        token = (token_file or desk.token_path).read_text()
        desk.command(verb, who(), token, **arguments)
        typer.echo(f"{verb}: done")


@contextmanager
def _desk(place: Path) -> Iterator[OperatorFile]:
    """The operator's file; what is wrong with it or the token is one sentence and exit code 2."""
    from rlbridge.plants.operator import NoOperator, OperatorRefused, operator_file

    try:
        yield operator_file(place)
    except (NoOperator, OperatorRefused, OSError) as error:
        typer.echo(f"rlbridge: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error
