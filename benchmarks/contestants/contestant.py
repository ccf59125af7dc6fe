"""The other end of turns.py: a contestant's process, and rounds in which each has its turn."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).resolve().parent
_PATIENCE = 120.0  # seconds for one turn, or to start


@dataclass(frozen=True)
class Entry:
    """Who takes part.

    Attributes:
        command: a script in this folder, and its arguments.
        rows: environment steps that one of its steps counts for.
        python: the interpreter.
    """

    command: tuple[str, ...]
    rows: int = 1
    python: str = sys.executable


class Contestant:
    """One process. Use it in a ``with`` statement.

    Attributes:
        skipped: why it takes no part; empty: it does.
    """

    def __init__(self, name: str, entry: Entry) -> None:
        self.name, self.rows, self.skipped = name, entry.rows, ""
        script, *arguments = entry.command
        self._process = subprocess.Popen(
            [entry.python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._received = b""

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._process.stdout.close()

    def get_ready(self) -> None:
        """Wait until it is; sets ``skipped``."""
        while (line := self._line()) != "ready":
            if line.startswith("skipped: ") or not line:
                self.skipped = line.removeprefix("skipped: ") or "it ended before its first turn; see above"
                return

    def turn(self, steps: int) -> float:
        """Seconds for so many steps.

        Raises:
            RuntimeError: it ended, or takes minutes.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n".encode())
        line = self._line()
        if not line:
            raise RuntimeError(f"{self.name} ended in the middle of its turn; see above")
        return float(line)

    def _line(self) -> str:
        """The next line it prints; empty at its end."""
        assert self._process.stdout is not None
        end = time.monotonic() + _PATIENCE
        while b"\n" not in self._received:
            if not select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0.0))[0]:
                raise RuntimeError(f"{self.name} said nothing for {_PATIENCE:g} s")
            piece = self._process.stdout.read(4096)
            if not piece:
                return ""
            self._received += piece
        line, self._received = self._received.split(b"\n", 1)
        return line.decode()


def play(entries: Mapping[str, Entry], rounds: int, seconds: float) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Let all take their turns, round after round, everybody once a round, another one first each time.

    Args:
        rounds: that count; one before them warms up.
        seconds: that a turn takes, about.

    Returns:
        Environment steps a second, one figure a round, by name; and who took no part, and why.
    """
    crew = [Contestant(name, entry) for name, entry in entries.items()]
    try:
        for contestant in crew:
            contestant.get_ready()
        present = [contestant for contestant in crew if not contestant.skipped]
        turns = {contestant.name: _steps(contestant, seconds) for contestant in present}
        rates: dict[str, list[float]] = {contestant.name: [] for contestant in present}
        for number in range(rounds):
            first = number % max(len(present), 1)
            for contestant in present[first:] + present[:first]:
                steps = turns[contestant.name]
                rates[contestant.name].append(steps * contestant.rows / contestant.turn(steps))
        return rates, {contestant.name: contestant.skipped for contestant in crew if contestant.skipped}
    finally:
        for contestant in crew:
            contestant.__exit__(None, None, None)


def _steps(contestant: Contestant, seconds: float) -> int:
    """How many steps take about that long; finding out warms up."""
    contestant.turn(2)
    steps = 4
    while (took := contestant.turn(steps)) < seconds / 4:
        steps *= 4
    return max(round(steps * seconds / took), 2)


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios: what the machine did meanwhile weighs on both halves of a round alike."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))
