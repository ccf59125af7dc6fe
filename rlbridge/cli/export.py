"""``rlbridge export RUN_DIR OUT.onnx``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlbridge.cli.failures import reported


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", short_help="Write a policy as ONNX, for use without torch.")(export)


def export(
    run_dir: Annotated[str, typer.Argument(help="A run folder.")],
    out: Annotated[str, typer.Argument(metavar="OUT.onnx", help="The file; its description goes beside it, OUT.json.")],
    checkpoint: Annotated[str, typer.Option(help="last, best, or the step of a checkpoint that was kept.")] = "last",
) -> None:
    """Write a run's policy as an ONNX file that any ONNX runtime plays, and its description as JSON.

    Nothing is written unless onnxruntime and torch agree on 1,000 observations. Every run leaves its last policy so,
    as policy.onnx in its folder; this is for another checkpoint, or another place.

    Example:

      rlbridge export runs/first best.onnx --checkpoint best
    """
    path = Path(out)
    if path.suffix != ".onnx":
        raise typer.BadParameter(f"{out!r} should end in .onnx; the description goes beside it, in .json")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.absolute().parent}")
    with reported():
        from rlbridge.learn import load_run
        from rlbridge.learn.export import export_policy
        from rlbridge.runs.folder import RunFolder

        run = load_run(run_dir, int(checkpoint) if checkpoint.isdigit() else checkpoint)
        told = export_policy(run.policy, run.config, RunFolder.open(run_dir), run.steps, path)
    typer.echo(f"{path} and {path.with_suffix('.json')}: {told.kind}, {told.algorithm} after {told.steps:,} steps")
