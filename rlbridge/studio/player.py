"""A policy being played: a process, its latest picture, and its scores."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

KEPT = 1_000
"""Episodes that are kept one by one; the figures are of all."""
_LINE_BYTES = 4 << 20
_TOLD_BYTES = 8_192
_STOP_SECONDS = 5.0

Status = Literal["starting", "playing", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Episode:
    """One that was played; ``length`` counts steps."""

    number: int
    score: float
    length: int


@dataclass(frozen=True)
class Performance:
    """What a player has come to at one moment.

    Attributes:
        status: starting, playing; finished: all episodes are played. stopped: it was asked to end. failed: see ``why``.
        count, mean, deviation: of all episodes: how many, and their returns' mean and standard deviation.
        episodes: the last of them, oldest first, at most :data:`KEPT`.
        frame: the latest picture, a JPEG in Base64; empty before the first. ``frames`` counts them.
        now: episode, step and return so far, as the picture shows them.
        no_frames: why there are no pictures, where some were asked for.
        why: what made it fail.
    """

    status: Status
    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    episodes: tuple[Episode, ...] = ()
    frame: str = ""
    frames: int = 0
    now: tuple[int, int, float] = (0, 0, 0.0)
    no_frames: str = ""
    why: str = ""


class Player:
    """``rlbridge evaluate --stream ARGUMENTS`` in a process of its own.

    What it prints is read as it comes, in threads; the latest picture is kept, and the last :data:`KEPT` episodes.
    However this process ends, the other one finds that nobody reads any more, and ends as well.

    Args:
        arguments: what to play and where, and then :func:`stream_arguments`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._last: deque[Episode] = deque(maxlen=KEPT)
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._frame, self._frames, self._now = "", 0, (0, 0, 0.0)
        self._no_frames, self._told = "", b""
        self._stopped = False
        # A session of its own: a Ctrl-C for this process is not one for it, too.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rlbridge", "evaluate", "--stream", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether there is still something to come."""
        return self._process.poll() is None or any(reader.is_alive() for reader in self._readers)

    def look(self) -> Performance:
        """What it has come to."""
        status, why = self._status()
        with self._lock:
            return Performance(
                status=status,
                count=self._count,
                mean=self._mean,
                deviation=math.sqrt(self._squares / self._count) if self._count else 0.0,
                episodes=tuple(self._last),
                frame=self._frame,
                frames=self._frames,
                now=self._now,
                no_frames=self._no_frames,
                why=why,
            )

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """End it; killed if that takes longer than ``seconds``. More than once does no harm."""
        if self._process.poll() is None:
            self._stopped = True
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)

    def _status(self) -> tuple[Status, str]:
        if self.alive:
            return ("playing" if self._count or self._frames else "starting"), ""
        if self._process.returncode == 0:
            return "finished", ""
        return ("stopped", "") if self._stopped else ("failed", self._complaint())

    def _complaint(self) -> str:
        """What the verb said went wrong; libraries print other things there as well."""
        told = self._told.decode("utf-8", errors="replace").strip()
        _, found, said = told.rpartition("rlbridge: ")
        return said if found else told or f"its process ended with exit code {self._process.returncode}"

    def _read_lines(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_BYTES):
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError):  # something that a library printed
                    continue

    def _take(self, told: dict[str, Any]) -> None:
        with self._lock:
            if "frame" in told:
                self._now = int(told["episode"]), int(told["step"]), float(told["return"])
                self._frame, self._frames = str(told["frame"]), self._frames + 1
            elif "no_frames" in told:
                self._no_frames = str(told["no_frames"])
            else:
                episode = Episode(int(told["episode"]), float(told["return"]), int(told["length"]))
                self._last.append(episode)
                self._count += 1
                beyond = episode.score - self._mean
                self._mean += beyond / self._count
                self._squares += beyond * (episode.score - self._mean)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _TOLD_BYTES):
                self._told = (self._told + chunk)[-_TOLD_BYTES:]


def stream_arguments(*, episodes: int | None = 1, frames: float = 0.0) -> list[str]:
    """How a :class:`Player` plays, to follow what it plays (:func:`rlbridge.studio.policies.evaluate_arguments`).

    Args:
        episodes: how many; None = until it is stopped.
        frames: at most so many pictures a second, up to 30; 0 = none.
    """
    return ["--endless" if episodes is None else f"--episodes={episodes}", f"--frames={frames:g}"]
