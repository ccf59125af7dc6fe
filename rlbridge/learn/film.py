"""A run's first and last episode as moving pictures, where the run file asks for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rlbridge.client import make
from rlbridge.config import RunConfig
from rlbridge.learn.policy import Policy
from rlbridge.play.gif import record
from rlbridge.runs.folder import RunFolder


def film_before(config: RunConfig, policy: Policy, folder: RunFolder, seed: int, check: Callable[[], None]) -> None:
    """Write ``before.gif``: the first evaluation's first episode, before anything was learned (once: not on resuming).

    Raises:
        CannotRender: while there is nothing to lose yet.
    """
    if config.evaluation.gif and not folder.before.exists():
        make_one = partial(make, config.env.target, **config.env.client_options())
        record(policy, make_one, seed, folder.before, check)


def film_after(config: RunConfig, policy: Policy, folder: RunFolder, seed: int, reason: str) -> str | None:
    """Write ``after.gif``: the same episode, played by what was learned; not if a signal wants the run to end.

    Returns:
        Why there is none: a run that ended well must not fail by this.
    """
    if not config.evaluation.gif or reason.startswith("SIG"):
        return None
    try:
        make_one = partial(make, config.env.target, **config.env.client_options())
        record(policy, make_one, seed, folder.after)
    except Exception as error:
        return f"no {folder.after.name} was written: {error}"
    return None
