"""Raw actions out of what a policy's network gives, likeliest or drawn by chance: numpy's side of the distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.play.actions import Actions


def raw_action(
    kind: str, outputs: Mapping[str, NDArray[np.float32]], actions: Actions, generator: np.random.Generator | None
) -> NDArray[Any]:
    """Raw actions ``[B, width]``, as :mod:`rlbridge.play.actions` has them.

    Args:
        kind: one of ``rlbridge.play.description.OUTPUTS``, which names the outputs too.
        outputs: ``logits`` ``[B, width * most]`` (those of choices that there are not are -1e9), ``q_values``
            ``[B, n]``, ``mean`` ``[B, width]`` with ``log_std`` ``[B, width]`` or ``[width]``, ``action``
            ``[B, width]``.
        actions: of the environment.
        generator: draws; None takes the likeliest action.
    """
    if kind == "categorical":
        logits = outputs["logits"].reshape(len(outputs["logits"]), actions.width, -1)
        # The largest of logits with Gumbel noise is drawn with softmax probability.
        chosen: NDArray[np.int64] = (
            logits if generator is None else logits + generator.gumbel(size=logits.shape)
        ).argmax(-1)
        return chosen
    if kind == "greedy":
        best: NDArray[np.int64] = outputs["q_values"].argmax(-1, keepdims=True)
        return best
    if kind == "deterministic":
        return outputs["action"]
    raw: NDArray[Any] = outputs["mean"]
    if generator is not None:
        raw = raw + np.exp(outputs["log_std"]) * generator.standard_normal(raw.shape, np.float32)
    return raw if kind == "gaussian" else np.tanh(raw)
