"""``rlbridge resume RUN_DIR [key=value ...]``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rlbridge.cli.failures import reported
from rlbridge.cli.train import SIGNALLED


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("resume", short_help="Go on with a run exactly where it stopped.")(resume)


def resume(
    run_dir: Annotated[str, typer.Argument(help="A run folder.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object on stdout.")] = False,
) -> None:
    """Go on with a run from its last whole checkpoint, in the same folder, bit for bit as if it had never stopped.

    Overrides stay with the run. What its weights or memory depend on cannot change: the algorithm, the network, the
    number of environments, the seed.

    Examples:

      rlbridge resume runs/first

      rlbridge resume runs/first algorithm.total_steps=200_000 env.target=grpc://10.0.0.2:50051
    """
    wrong = [setting for setting in settings or [] if "=" not in setting]
    if wrong:
        raise typer.BadParameter(f"expected RUN_DIR [KEY=VALUE]..., got {wrong[0]!r}")
    with reported():
        import rlbridge.learn

        run = rlbridge.learn.resume(run_dir, settings or [], progress=False if quiet else None)
    outcome = {"dir": str(run.dir), "steps": run.steps, "stop_reason": run.stop_reason}
    if as_json:
        typer.echo(json.dumps(outcome))
    elif run.stop_reason == "nothing_left":
        typer.echo(
            f"nothing left to do: {run.dir} has ended after {run.steps} steps. To train it further, set "
            f"algorithm.total_steps to more than {run.steps} (or raise evaluation.stop_at_return)."
        )
    else:
        typer.echo(f"{run.steps} steps, ended by {run.stop_reason}: {run.dir}")
    raise typer.Exit(SIGNALLED.get(run.stop_reason or "", 0))
