"""``rlbridge check TARGET``"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlbridge.cli.failures import FAILED, reported

if TYPE_CHECKING:
    from rlbridge.check import Result


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("check", short_help="Does a server, in any language, keep to the protocol?")(check)


def check(
    target: Annotated[str, typer.Argument(help="grpc://HOST:PORT[/ENVIRONMENT], unix:///PATH, shm:///PATH")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A check's name; may be given several times.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="How many steps to wait for the end of an episode.")] = 2_000,
) -> None:
    """Check a server's behaviour against the protocol: one line a check, with what was expected and seen.

    Opens and closes sessions of its own, some of them on purpose as a bad client would; it fills the server for a
    moment, so don't point it at one that somebody is training on. Exit code 0: nothing failed (skips are allowed);
    1: something did; 2: a bad target or name; 3: no server there.
    """
    from rlbridge.check import CHECKS, UnknownCheck, check_target

    width = max(len(known.name) for known in CHECKS)
    results = []
    with reported():
        try:
            checking = check_target(target, only or (), steps)
        except UnknownCheck as error:
            raise typer.BadParameter(str(error), param_hint="--only") from error
        for result in checking:
            results.append(result)
            if not as_json:
                scope = result.needs or "required"
                typer.echo(f"{result.status}  {result.name:{width}}  {scope:9}  {_what(result)}")
    counts = {status: sum(result.status == status for result in results) for status in ("pass", "fail", "skip")}
    if as_json:
        report = {"target": target, "counts": counts, "checks": [asdict(result) for result in results]}
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    if counts["fail"]:
        raise typer.Exit(FAILED)


def _what(result: Result) -> str:
    seen = " ".join(result.seen.split())
    return f"expected {result.expected}; seen {seen}" if result.status == "fail" else seen
