"""``rlbridge doctor TARGET``"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from rlbridge.cli.failures import FAILED

_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}
_INDENT = 22


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", short_help="Name what is wrong with a server, or slow.")(doctor)


def doctor(
    target: Annotated[
        str, typer.Argument(help="grpc://HOST:PORT[/ENVIRONMENT], grpcs://, unix:///PATH, shm:///PATH, ...")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds for the whole.")] = 30.0,
    steps: Annotated[
        int, typer.Option(min=0, help="Random actions to send, in a session of its own. 0: none, for a live plant.")
    ] = 20,
) -> None:
    """Examine a server from the bottom up (name, connection, proxy, TLS, protocol, token, version, capacity, a session,
    where the time of a step goes) and name the first thing that is wrong.

    It sends random actions to the environment; use --steps 0 where they would do harm. Tokens and TLS files are taken
    from the RLBRIDGE_... variables. Exit code 0: usable, perhaps with warnings; 1: there is a problem.
    """
    from rlbridge.doctor import Finding, examine

    findings: list[Finding] = []
    for finding in examine(target, timeout=timeout, steps=steps):
        findings.append(finding)
        if not as_json:
            _print(finding.status, finding.name, finding.found, finding.advice)
    problem = next((finding for finding in findings if finding.status == "problem"), None)
    if as_json:
        facts = {"target": target, "healthy": problem is None, "findings": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(facts, indent=2))
    if problem is not None:
        raise typer.Exit(FAILED)


def _print(status: str, name: str, found: str, advice: str) -> None:
    margin = " " * _INDENT
    lines = textwrap.wrap(found, 120 - _INDENT, break_long_words=False, break_on_hyphens=False)
    typer.echo(f"{typer.style(f'{status:<8}', _COLOURS[status])} {name:<12} {lines[0]}")
    for line in lines[1:]:
        typer.echo(margin + line)
    for number, line in enumerate(textwrap.wrap(advice, 117 - _INDENT, break_on_hyphens=False)):
        typer.echo(f"{margin}{'   ' if number else '-> '}{line}")
