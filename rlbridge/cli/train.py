"""``rlbridge train [RUN.yaml] [key=value ...]``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rlbridge.cli.failures import reported

SIGNALLED = {"SIGINT": 130, "SIGTERM": 143}


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    epilog = "`rlbridge config show` lists every setting, `rlbridge config schema` explains each."
    app.command("train", short_help="Train a policy, into a run folder.", epilog=epilog)(train)


def train(
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN.yaml] [KEY=VALUE]...", help="A run file, then overrides.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object on stdout.")] = False,
) -> None:
    """Train a policy on a local or remote environment, into a run folder.

    Ctrl-C or SIGTERM end the run cleanly: a checkpoint is written. So does a file named `stop` in the run folder.

    Examples:

      rlbridge train env.target=grpc://127.0.0.1:50051 algorithm.total_steps=100_000

      rlbridge train run.yaml run.seed=1 run.name=second
    """
    if not settings:
        raise typer.BadParameter(
            "say what to train: a run file, or settings such as env.target=CartPole-v1 algorithm.total_steps=20_000"
        )
    run_file, overrides = split_settings(settings)
    with reported():
        import rlbridge.learn

        run = rlbridge.learn.train(run_file, overrides, progress=False if quiet else None)
    outcome = {"dir": str(run.dir), "steps": run.steps, "stop_reason": run.stop_reason}
    typer.echo(json.dumps(outcome) if as_json else f"{run.steps} steps, ended by {run.stop_reason}: {run.dir}")
    raise typer.Exit(SIGNALLED.get(run.stop_reason or "", 0))


def split_settings(settings: list[str]) -> tuple[str | None, list[str]]:
    """A run file, if the first argument is one, and the overrides.

    Raises:
        typer.BadParameter: two run files, or something that is neither.
    """
    files = [setting for setting in settings if "=" not in setting]
    if len(files) > 1 or (files and settings[0] != files[0]):
        raise typer.BadParameter(f"expected [RUN.yaml] [KEY=VALUE]..., got {' '.join(settings)!r}")
    return (files[0] if files else None), [setting for setting in settings if "=" in setting]
