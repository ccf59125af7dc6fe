"""``rlbridge config show|schema [RUN.yaml] [key=value ...]``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rlbridge.cli.failures import reported
from rlbridge.cli.train import split_settings

app = typer.Typer(
    help="A run's settings: all of them, or what each means.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(parent: typer.Typer) -> None:
    """Add the verb."""
    parent.add_typer(app, name="config", short_help="Show a run's settings, or explain them.")


@app.command()
def show(
    settings: Annotated[list[str] | None, typer.Argument(metavar="[RUN.yaml] [KEY=VALUE]...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the resolved run: every setting with its value, as a run file."""
    from rlbridge.config import dump_config, load_config

    run_file, overrides = split_settings(settings or [])
    with reported():
        config = load_config(run_file, overrides)
    typer.echo(json.dumps(config.model_dump(mode="json"), indent=2) if as_json else dump_config(config).rstrip())


@app.command()
def schema() -> None:
    """Print the JSON Schema of a run file: types, limits, defaults and a sentence on every setting."""
    from rlbridge.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
