"""Trading one index: at every close, what part of the wealth is to be in the market on the next day."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from market import FIRST, SPLIT, load
from numpy.typing import NDArray

COST = 0.0005
"""Part of the amount traded that goes to broker and spread: 5 basis points."""
POSITIONS = (0.0, 1.0)
"""Limits of the position, as parts of the wealth: no short sales, no borrowing."""

Observation = NDArray[np.float32]


class TradingEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """Hold between nothing and everything in the S&P 500; the rest of the wealth is cash without interest.

    Action: ``Box(-1, 1, (1,), float32)``: -1 is out of the market, 1 is all in. Observation:
    ``Box(-inf, inf, (8,), float32)``: the market's features (see :class:`market.Market`), and the position after the
    day's move, scaled like the action. Reward: the day's growth of the wealth, ``100 log(after/before)``, costs
    included. ``info``: ``growth`` (the same, not times 100), ``position``, ``traded``.

    An episode of ``train`` is 252 days from a random day before 2014; the only one of ``test`` is all days from 2014 to
    2018. Both are truncated, never terminated: with these limits nobody goes broke.

    Raises:
        ModuleNotFoundError: the package with the prices is not installed.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self, period: Literal["train", "test"] = "train", days: int = 252, render_mode: str | None = None
    ) -> None:
        self.render_mode = render_mode
        self.market, self.period = load(), period
        split = self.market.first_from(SPLIT)
        self.first, self.end = (FIRST, split - 1) if period == "train" else (split - 1, len(self.market.days) - 1)
        self.days = days if period == "train" else self.end - self.first
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (self.market.features.shape[1] + 1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Out of the market, at the close of the first day."""
        super().reset(seed=seed)
        self.today = int(self.np_random.integers(self.first, self.end - self.days, endpoint=True))
        self.last = self.today + self.days
        self.position = 0.0
        return self._observe(), {"day": self.market.days[self.today].isoformat()}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Trade at today's close, and see tomorrow's."""
        if not self.action_space.contains(np.asarray(action, np.float32)):
            raise ValueError(f"Action {action!r} is not in {self.action_space}.")
        wanted = POSITIONS[0] + (POSITIONS[1] - POSITIONS[0]) * (float(action[0]) + 1.0) / 2.0
        traded = abs(wanted - self.position)
        self.today += 1
        moved = float(self.market.returns[self.today])
        wealth = (1.0 - COST * traded) * (1.0 + wanted * moved)
        # What is in the market grows with it, and so does its part of the wealth.
        self.position = wanted * (1.0 + moved) / (1.0 + wanted * moved)
        growth = float(np.log(wealth))
        info = {"growth": growth, "position": wanted, "traded": traded}
        return self._observe(), 100.0 * growth, False, self.today >= self.last, info

    def _observe(self) -> Observation:
        scaled = 2.0 * (self.position - POSITIONS[0]) / (POSITIONS[1] - POSITIONS[0]) - 1.0
        return np.append(self.market.features[self.today], np.float32(scaled))
