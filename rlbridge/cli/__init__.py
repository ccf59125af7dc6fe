"""The ``rlbridge`` command: one file a verb. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import typer

from rlbridge.cli import (
    audit,
    bench,
    check,
    config,
    doctor,
    evaluate,
    export,
    inspect,
    new,
    plant,
    recording,
    resume,
    serve,
    studio,
    train,
)
from rlbridge.cli.failures import EXIT_CODES
from rlbridge.version import __version__

app = typer.Typer(
    name="rlbridge",
    help="Reinforcement learning across the network, on environments that stay where they are.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
serve.add_to(app)
inspect.add_to(app)
doctor.add_to(app)
bench.add_to(app)
check.add_to(app)
train.add_to(app)
resume.add_to(app)
evaluate.add_to(app)
export.add_to(app)
config.add_to(app)
plant.add_to(app)
recording.add_to(app)
audit.add_to(app)
new.add_to(app)
studio.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlbridge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Reinforcement learning across the network, on environments that stay where they are."""


def main() -> None:
    """Entry point of the command."""
    app()


__all__ = ["app", "main"]
