"""``rlbridge new plant NAME``"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli.failures import BAD_INPUT

new = typer.Typer(help="Begin something new.", no_args_is_help=True, rich_markup_mode=None)
TEMPLATE = Path(__file__).parent.parent / "templates" / "plant"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(new, name="new", short_help="Make a folder with a working plant.")


@new.callback()
def root() -> None:
    """Begin something new."""


@new.command("plant")
def plant(name: Annotated[str, typer.Argument(help="Of the folder, and of what clients ask for.")]) -> None:
    """Make a folder with a working plant: a simulator, serve.yaml, run file, test and README.

    Examples:

      rlbridge new plant boiler && rlbridge serve boiler
    """
    folder = Path(name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", folder.name):
        raise typer.BadParameter(f"{folder.name!r}: a letter, then letters, digits and _, such as boiler_2")
    if folder.exists():
        typer.echo(f"rlbridge: {folder} exists already; take another name or remove it", err=True)
        raise typer.Exit(BAD_INPUT)
    folder.mkdir(parents=True)
    for source in sorted(TEMPLATE.iterdir()):
        if source.is_file():
            target = folder / source.name.replace("NAME", folder.name)
            target.write_text(source.read_text(encoding="utf-8").replace("NAME", folder.name), encoding="utf-8")
            typer.echo(target)
