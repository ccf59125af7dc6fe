"""Ways to draw actions from what a network gives, by chance that depends on seed, row and step alone.

A policy at the environment acts for many steps at a time; what chance brings to all of them is drawn at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.play.actions import Actions, Choices
from rlbridge.play.counter_random import normal, uniform
from rlbridge.play.draw import raw_action

Outputs = Mapping[str, NDArray[np.float32]]

KINDS = {
    "deterministic": ("categorical", "greedy", "gaussian", "squashed_gaussian", "deterministic"),
    "categorical": ("categorical",),
    "epsilon_greedy": ("greedy",),
    "diagonal_gaussian": ("gaussian",),
    "squashed_gaussian": ("squashed_gaussian",),
    "additive_gaussian": ("deterministic",),
    "ornstein_uhlenbeck": ("deterministic",),
    "uniform": (),
}
"""The ways of sampling, and the kinds of policy (:data:`rlbridge.play.description.OUTPUTS`) that each goes with."""

PARAMETERS = {"epsilon_greedy": ("epsilon",), "additive_gaussian": ("sigma",), "ornstein_uhlenbeck": ("sigma", "theta")}
_COIN, _CHOICE, _NOISE = range(3)  # streams


class SamplingError(ValueError):
    """A way of sampling that does not go with the policy or its actions, or lacks a parameter."""


class Sampling:
    """Draws raw actions for ``steps`` steps of ``rows`` environments.

    Args:
        way: one of :data:`KINDS`.
        kind: of the policy; None where there is none.
        actions: of the environment.
        rows, steps: N, T.
        seed, first_step: of chance, see :mod:`rlbridge.play.counter_random`.
        parameters: ``epsilon`` (0 to 1), ``sigma`` (at least 0, in halves of an action's range), ``theta`` (0 to 1).
        walk: ``[N, width]``, where a walk goes on; updated in place.

    Raises:
        SamplingError: they do not go together.
    """

    def __init__(
        self,
        way: str,
        kind: str | None,
        actions: Actions,
        rows: int,
        steps: int,
        seed: int,
        first_step: int,
        parameters: Mapping[str, float],
        walk: NDArray[np.float32],
    ) -> None:
        if way not in KINDS:
            raise SamplingError(f"no way of sampling is called {way!r}; there are {', '.join(KINDS)}")
        if way != "uniform" and kind not in KINDS[way]:
            raise SamplingError(f"{way} sampling goes with {', '.join(KINDS[way])} policies; this one is {kind}")
        self.way, self.kind, self.actions, self.steps, self.walk = way, kind, actions, steps, walk
        self.parameters = _checked(way, parameters)
        place = first_step, steps, rows
        nothing: NDArray[Any] = np.empty(0)
        self._coins = self._random = self._noise = nothing  # [T, N, ...], where the way of sampling takes them
        if way == "categorical":
            assert isinstance(actions, Choices)
            drawn = uniform(seed, _CHOICE, *place, actions.numbers)
            # Standard Gumbel noise: logits + noise is largest with softmax probability.
            self._noise = -np.log(-np.log(drawn)).reshape(steps, rows, actions.width, actions.most)
        elif way == "epsilon_greedy":
            self._coins = uniform(seed, _COIN, *place, 1) < self.parameters["epsilon"]
        elif way in ("diagonal_gaussian", "squashed_gaussian", "additive_gaussian", "ornstein_uhlenbeck"):
            self._noise = normal(seed, _NOISE, *place, actions.width)
        if way in ("epsilon_greedy", "uniform"):
            drawn = uniform(seed, _CHOICE, *place, actions.width)
            if isinstance(actions, Choices):
                self._random = (drawn * actions.classes.reshape(-1)).astype(np.int64)
            else:
                self._random = (2.0 * drawn - 1.0).astype(np.float32)

    def draw(self, t: int, outputs: Outputs) -> NDArray[Any]:
        """Raw actions ``[N, width]`` of step t, given what the network says of its observations."""
        if self.way == "uniform":
            drawn: NDArray[Any] = self._random[t]
            return drawn
        assert self.kind is not None
        if self.way == "categorical":
            logits = outputs["logits"].reshape(len(outputs["logits"]), self.actions.width, -1)
            chosen: NDArray[np.int64] = (logits + self._noise[t]).argmax(-1)
            return chosen
        if self.way in ("diagonal_gaussian", "squashed_gaussian"):
            raw: NDArray[Any] = outputs["mean"] + np.exp(outputs["log_std"]) * self._noise[t]
            return raw if self.way == "diagonal_gaussian" else np.tanh(raw)
        best = raw_action(self.kind, outputs, self.actions, None)
        if self.way == "epsilon_greedy":
            return np.where(self._coins[t], self._random[t], best)
        if self.way == "deterministic":
            return best
        keep = 1.0 - self.parameters["theta"] if self.way == "ornstein_uhlenbeck" else 0.0
        self.walk[:] = np.float32(keep) * self.walk + np.float32(self.parameters["sigma"]) * self._noise[t]
        return np.clip(best + self.walk, -1.0, 1.0)

    def log_prob(self, outputs: Outputs, raw: NDArray[Any]) -> NDArray[np.float32] | None:
        """``[B]``, in nats, of raw actions ``[B, width]`` drawn from ``outputs`` ``[B, ...]``, summed over the choices
        or dimensions; None for ways of sampling that nobody asks it of."""
        if self.way == "categorical":
            logits = outputs["logits"].reshape(len(raw), self.actions.width, -1)
            shifted = logits - logits.max(-1, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
            chosen = np.take_along_axis(log_probs, raw[..., None], -1)
            return chosen.sum((-2, -1)).astype(np.float32)  # type: ignore[no-any-return]
        if self.way == "diagonal_gaussian":
            log_std = outputs["log_std"]
            z = (raw - outputs["mean"]) * np.exp(-log_std)
            each = -0.5 * np.square(z) - log_std - 0.5 * math.log(2.0 * math.pi)
            return each.sum(-1).astype(np.float32)  # type: ignore[no-any-return]
        return None


def _checked(way: str, parameters: Mapping[str, float]) -> dict[str, float]:
    wanted = PARAMETERS.get(way, ())
    if set(parameters) != set(wanted):
        raise SamplingError(f"{way} sampling takes the parameters {list(wanted)}, not {sorted(parameters)[:5]}")
    for name, value in parameters.items():
        most = math.inf if name == "sigma" else 1.0
        if not 0.0 <= value <= most or math.isinf(value):
            raise SamplingError(f"{name} is {value}; it should be at least 0" + (" and at most 1" if most == 1 else ""))
    return dict(parameters)
