"""``rlbridge evaluate RUN_DIR``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rlbridge.cli.failures import reported


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Play episodes with a trained policy.")(evaluate)


def evaluate(
    run_dir: Annotated[str, typer.Argument(help="A run folder.")],
    env: Annotated[str | None, typer.Option(help="Another target than the run's own, with the same spaces.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 20,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the environments; default: one the run never used.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="last, best, or the step of a checkpoint that was kept.")] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play deterministic episodes with a trained policy and report their returns."""
    with reported():
        from rlbridge.learn import load_run

        run = load_run(run_dir, int(checkpoint) if checkpoint.isdigit() else checkpoint)
        result = run.evaluate(episodes, target=env, seed=seed)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        typer.echo(
            f"{result.episodes} episodes: return {result.return_mean:.2f} +/- {result.return_std:.2f}, "
            f"length {result.length_mean:.1f}"
        )
