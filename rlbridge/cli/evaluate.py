"""``rlbridge evaluate RUN_DIR|POLICY.onnx``"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlbridge.cli.failures import reported
from rlbridge.cli.lines import lines

if TYPE_CHECKING:
    from rlbridge.learn import Run
    from rlbridge.play import Description, Evaluation, OnnxPolicy
    from rlbridge.play.stream import Tell


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Play episodes with a trained policy.")(evaluate)


def evaluate(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR|POLICY.onnx",
            help="A run folder, or a policy file with its .json beside it: no torch needed.",
        ),
    ],
    env: Annotated[str | None, typer.Option(help="Another target than the run's own, with the same spaces.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 20,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the environments; default: one the run never used.")
    ] = None,
    gif: Annotated[str | None, typer.Option(help="Write the first episode here, as a moving picture.")] = None,
    checkpoint: Annotated[
        str, typer.Option(help="Of a run folder: last, best, or the step of a checkpoint that was kept.")
    ] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    as_stream: Annotated[
        bool, typer.Option("--stream", help="Print a JSON object a line: each episode as it ends, one after the other.")
    ] = False,
    endless: Annotated[bool, typer.Option("--endless", help="With --stream: play until it is ended.")] = False,
    frames: Annotated[
        float, typer.Option(min=0, max=30, help="With --stream: at most so many pictures a second, JPEG in Base64.")
    ] = 0.0,
) -> None:
    """Play deterministic episodes with a trained policy and report their returns.

    With --stream it ends on SIGTERM (exit code 143), and when nobody reads what it prints any more.

    Examples:

      rlbridge evaluate runs/first --episodes 10 --gif first.gif

      rlbridge evaluate runs/first/policy.onnx --env grpc://127.0.0.1:50051 --json

      rlbridge evaluate runs/first --stream --endless --frames 10
    """
    if as_stream and (as_json or gif is not None):
        raise typer.BadParameter("--stream does not go with --json or --gif")
    if not as_stream and (endless or frames):
        raise typer.BadParameter("--endless and --frames belong to --stream")
    if as_stream:
        with reported(), _or_elsewhere(env), lines() as tell:
            _stream(policy, env, None if endless else episodes, seed, checkpoint, frames, tell)
        return
    if gif is not None and not Path(gif).absolute().parent.is_dir():
        raise typer.BadParameter(f"--gif: there is no folder {Path(gif).absolute().parent}")
    with reported(), _or_elsewhere(env):
        if _is_file(policy, checkpoint):
            result = _evaluate_file(policy, env, episodes, seed, gif)
        else:
            result = _run(policy, checkpoint).evaluate(episodes, target=env, seed=seed, gif=gif)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        typer.echo(
            f"{result.episodes} episodes: return {result.return_mean:.2f} +/- {result.return_std:.2f}, "
            f"length {result.length_mean:.1f}"
        )


@contextmanager
def _or_elsewhere(env: str | None) -> Iterator[None]:
    """Where the environment that a policy was trained in is not to be reached, say how to name another one."""
    from rlbridge.errors import Unavailable

    try:
        yield
    except Unavailable as error:
        if env is not None:
            raise
        raise Unavailable(f"{error.args[0]} Or play elsewhere: --env TARGET.", **error.details) from error


def _is_file(policy: str, checkpoint: str) -> bool:
    """Whether it is a policy file, as opposed to a run folder that is there."""
    if policy.endswith(".onnx"):
        if checkpoint != "last":
            raise typer.BadParameter("--checkpoint is for a run folder; a policy file holds one policy")
        return True
    if not Path(policy).exists():
        raise typer.BadParameter(f"there is nothing at {policy}")
    return False


def _run(path: str, checkpoint: str) -> Run:
    try:
        from rlbridge.learn import load_run
    except ModuleNotFoundError as error:
        file = Path(path) / "policy.onnx"
        if not file.is_file():
            raise
        raise ModuleNotFoundError(f"{error}; or without it: rlbridge evaluate {file}") from error
    return load_run(path, int(checkpoint) if checkpoint.isdigit() else checkpoint)


def _stream(
    path: str, env: str | None, episodes: int | None, seed: int | None, checkpoint: str, frames: float, tell: Tell
) -> None:
    from rlbridge.client import make
    from rlbridge.play import stream

    if _is_file(path, checkpoint):
        policy, target, kwargs, seed = _load_file(path, env, seed)
        stream(policy, partial(make, target, **kwargs), seed, tell, episodes=episodes, frames=frames)
    else:
        _run(path, checkpoint).stream(tell, episodes=episodes, frames=frames, target=env, seed=seed)


def _load_file(path: str, env: str | None, seed: int | None) -> tuple[OnnxPolicy, str, dict[str, Any], int]:
    """The policy, the environment to play it in with its arguments, and the seed."""
    from rlbridge.play import OnnxPolicy

    policy = OnnxPolicy.load(path)
    told = policy.description
    target = _own_target(told) if env is None else env
    kwargs = told.kwargs if target == told.target else {}
    return policy, target, kwargs, told.evaluation.get("seed", 0) if seed is None else seed


def _evaluate_file(path: str, env: str | None, episodes: int, seed: int | None, gif: str | None) -> Evaluation:
    from gymnasium.vector import AutoresetMode

    from rlbridge.client import Unsupported, make, make_vec
    from rlbridge.play import evaluate, record, require_fit

    policy, target, kwargs, seed = _load_file(path, env, seed)
    if gif is not None:
        record(policy, partial(make, target, **kwargs), seed, gif)
    rows = min(episodes, policy.description.evaluation.get("num_envs", episodes))
    try:
        envs = make_vec(target, rows, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs)
    except Unsupported:  # a server's native batch has one mode of its own
        envs = make_vec(target, rows, autoreset_mode=None, **kwargs)
    try:
        require_fit(policy, envs.single_observation_space, envs.single_action_space)
        return evaluate(policy, envs, episodes, seed)
    finally:
        envs.close()


def _own_target(told: Description) -> str:
    """Where the policy was trained, if going there on a file's word can do no harm.

    A file that somebody sent must not choose which code is run here, nor which server is shown this user's token.
    """
    if told.target is None:
        raise typer.BadParameter("--env is needed: the policy file does not say where it was trained")
    if "://" not in told.target and (":" in told.target or told.kwargs):
        raise typer.BadParameter(
            f"--env is needed: the policy file names {told.target!r} with {told.kwargs}, which is code to be run; say "
            f"--env {told.target} if you know it"
        )
    if "://" in told.target and any(name.startswith(("RLBRIDGE_TOKEN", "RLBRIDGE_TLS")) for name in os.environ):
        raise typer.BadParameter(
            f"--env is needed: the policy file names {told.target!r}, which would be shown your RLBRIDGE_TOKEN or "
            f"certificate; say --env {told.target} if you know it"
        )
    return told.target
