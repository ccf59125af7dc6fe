"""What a person sees while a run goes on: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class ProgressReport:
    """Shows steps and the latest numbers on stderr, at most a few times a second.

    Args:
        total: transitions to come.
        show: True = show, False = silent, None = a bar if stderr is a terminal, else plain lines.
    """

    def __init__(self, total: int, show: bool | None) -> None:
        self.total, self.silent = total, show is False
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and not self.silent:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task("training", total=total, numbers="")
        self._next_line = 0.0

    def __enter__(self) -> ProgressReport:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show that ``step`` transitions are done, and the return and speed in ``values``."""
        if self._bar is None and time.monotonic() < self._next_line:
            return
        named = {"return": "rollout/ep_rew_mean", "evaluation": "eval/return_mean", "steps/s": "time/fps"}
        numbers = "  ".join(f"{name} {values[key]:,.4g}" for name, key in named.items() if key in values)
        if self._bar is not None:
            self._bar.update(self._task, completed=min(step, self.total), numbers=numbers)
        else:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            self.say(f"{step:,} of {self.total:,} steps  {numbers}")

    def say(self, text: str) -> None:
        """One line of its own, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        elif not self.silent:
            print(text, file=sys.stderr, flush=True)
