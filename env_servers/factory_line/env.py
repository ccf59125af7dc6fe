"""The factory line as a Gymnasium environment: every hour, how many cards are in play and who is repaired first.

Every afternoon customers order about twice as fast as the line can produce, and hardly at all in the rest of the day.
Stock has to be there when the rush begins and should be gone when it ends, so no fixed number of cards is right at
every hour of the day: that is what a policy can earn against the best fixed CONWIP level.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np
from factory_task import CAPS, DAY, HOLDING, LATENESS, MARGIN, RUSH, RUSH_RATE, STATIONS, expected_orders, order_rate
from gymnasium import spaces
from line_picture import paint
from numpy.typing import NDArray
from production_line import Orders, ProductionLine, State

BACKLOG_SCALE = 64
"""An observed backlog saturates here [orders]."""

Observation = NDArray[np.float32]


class FactoryLineEnv(gymnasium.Env[Observation, np.int64]):
    """Release work and send the repairer, once an hour, for ``days`` days from an empty line at midnight.

    Action: ``Discrete(24)``, ``3 * i + j``: ``CAPS[i]`` cards in play, and station ``j`` is repaired before the others.
    A constant action is a fixed CONWIP rule, so the baseline lives in the same action space.

    Observation: ``Box(-1, 1, (18,), float32)``:

    ======  ==========================================================================================
    0-11    for each station: jobs there / places; is down; is being repaired; is blocked
    12      finished stock / 32 jobs
    13      orders waiting / 64, at most 1
    14, 15  sine and cosine of the time of day
    16, 17  orders expected in the next 4 and in the next 12 hours, as a share of a rush that long
    ======  ==========================================================================================

    Reward: k€ earned in the hour: 0.4 a job sold, less 0.02 per hour and job in the line or in stock, less 0.1 per
    hour and order that waits. ``info`` has the hour's ``throughput`` [jobs/h], mean ``wip``, ``stock`` and
    ``backlog`` [jobs], and the reward's three parts ``margin``, ``holding`` and ``lateness`` [k€].

    An episode is never terminated; it is truncated after ``days``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 8}

    def __init__(self, render_mode: str | None = None, days: int = 10) -> None:
        self.render_mode = render_mode
        self.horizon = days * DAY
        self.action_space = spaces.Discrete(len(CAPS) * len(STATIONS))
        self.observation_space = spaces.Box(-1.0, 1.0, (4 * len(STATIONS) + 6,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin at midnight with an empty line; the seed decides every service, failure, repair and order."""
        super().reset(seed=seed)
        self.line = ProductionLine(
            list(STATIONS.values()),
            seed=int(self.np_random.integers(2**63)),
            cap=0,
            repairers=1,
            orders=Orders(order_rate, peak=RUSH_RATE),
        )
        self.hour = 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply the rule for one hour."""
        if not self.action_space.contains(action):
            raise ValueError(f"Action {action!r} is not in {self.action_space}.")
        level, first = divmod(int(action), len(STATIONS))
        before = self._ledger()
        self.line.call_repairer(first)
        self.line.set_cap(CAPS[level])
        self.hour += 1
        self.line.run(until=self.hour)
        finished, sold, wip, stock, backlog = (after - was for after, was in zip(self._ledger(), before, strict=True))

        margin, holding, lateness = MARGIN * sold, HOLDING * (wip + stock), LATENESS * backlog
        info = {
            "throughput": finished,
            "wip": wip,
            "stock": stock,
            "backlog": backlog,
            "margin": margin,
            "holding": holding,
            "lateness": lateness,
        }
        return self._observe(), margin - holding - lateness, False, self.hour >= self.horizon, info

    def render(self) -> Any:
        """The line now: an image (height, width, 3) of uint8, or one line of text."""
        if self.render_mode == "rgb_array":
            return paint(self.line, time_of_day=self.hour % DAY / DAY, rush=(RUSH[0] / DAY, RUSH[1] / DAY))
        if self.render_mode == "ansi":
            return self._describe()
        return None

    def _ledger(self) -> tuple[float, ...]:
        """Running totals: jobs finished and sold, and the job-hours in the line, in stock and waited for."""
        line = self.line
        levels = (level.integral() for level in (line.wip, line.stock, line.backlog))
        return (float(line.finished), float(line.sold), *levels)

    def _observe(self) -> Observation:
        seen: list[float] = []
        for machine in self.line.machines:
            state = machine.state
            seen += (
                len(machine.jobs) / (machine.station.buffer + 1),
                state >= State.BROKEN,
                state == State.IN_REPAIR,
                state == State.BLOCKED,
            )
        angle = 2.0 * math.pi * self.hour / DAY
        seen += (
            self.line.stock.value / CAPS[-1],
            min(1.0, self.line.backlog.value / BACKLOG_SCALE),
            math.sin(angle),
            math.cos(angle),
            expected_orders(self.hour, 4) / (4 * RUSH_RATE),
            expected_orders(self.hour, 12) / (12 * RUSH_RATE),
        )
        return np.array(seen, np.float32)

    def _describe(self) -> str:
        stations = "  ".join(
            f"{name} {len(machine.jobs)} {machine.state.name.lower().replace('_', ' ')}"
            for name, machine in zip(STATIONS, self.line.machines, strict=True)
        )
        return (
            f"day {self.hour // DAY} {self.hour % DAY:02d}:00  cards {self.line.cap}  {stations}  "
            f"stock {self.line.stock.value}  orders waiting {self.line.backlog.value}"
        )
