"""``rlbridge recording``: what `rlbridge serve --record` has written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli.failures import BAD_INPUT, reported

recording = typer.Typer(help="Look at recordings.", no_args_is_help=True, rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(recording, name="recording", short_help="Show a recorded session, or make a Minari dataset of it.")


@recording.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="A recording's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the episodes of a recorded session. `rlbridge serve FOLDER` serves them again."""
    with reported():
        from rlbridge.recordings import Recording

        found = Recording(folder)
    episodes = [
        {
            **{key: parts[0][key] for key in ("episode", "row", "seed")},
            "steps": sum(part["steps"] for part in parts),
            "return": sum(part["return"] for part in parts),
            "end": parts[-1]["end"],
        }
        for parts in found.episodes
    ]
    if as_json:
        typer.echo(json.dumps({"environment": found.environment, "num_envs": found.num_envs, "episodes": episodes}))
        return
    typer.echo(f"{found.environment}: observation {found.observations.space}, action {found.actions.space}")
    for episode in episodes:
        typer.echo(", ".join(f"{key} {value}" for key, value in episode.items()))


@recording.command("minari")
def minari(
    folder: Annotated[Path, typer.Argument(help="A recording's folder.")],
    dataset_id: Annotated[str, typer.Argument(help="Such as factory/line-v0.")],
    into: Annotated[
        Path | None, typer.Option(envvar="MINARI_DATASETS_PATH", help="Minari's folder. Default: ~/.minari/datasets.")
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Make a Minari dataset of a recorded session.

    Examples:

      rlbridge recording minari recordings/factory-line-1 factory/line-v0
    """
    if into is not None:  # Minari takes it from here, and loses its way with a relative one
        os.environ["MINARI_DATASETS_PATH"] = str(into.absolute())
    with reported():
        from rlbridge.recordings.minari import to_minari

        try:
            dataset = to_minari(folder, dataset_id, description)
        except ValueError as error:
            typer.echo(f"rlbridge: {error}", err=True)
            raise typer.Exit(BAD_INPUT) from error
    typer.echo(f"{dataset_id}: {dataset.total_episodes} episodes, {dataset.total_steps} steps")
