"""A process that outlives whoever started it, and what it printed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TOLD_BYTES = 8_192


class Detached:
    """``rlbridge ARGUMENTS`` in a session of its own: a signal to its starter, or the starter's end, is not its own.

    Args:
        arguments: after ``rlbridge``.
        output: the file that stdout and stderr go to; emptied first.

    Attributes:
        began: when it was started [s of the system's clock].
    """

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        self.began = time.time()
        alone: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            alone = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rlbridge", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                **alone,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs. Asking takes note of its end, so that no zombie stays."""
        return self._process.poll()


def tail(path: Path, size: int = _TOLD_BYTES) -> str:
    """The last ``size`` bytes of a text file, from the beginning of a line on; empty where there is none.

    A link is not followed: what a run folder holds is shown to whoever opens a page.
    """
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text if end <= size else text.partition("\n")[2]


def born(pid: int) -> str:
    """When that process began; empty where there is none (or it has ended and nobody has looked)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return _born_elsewhere(pid)
    return "" if fields[0] == "Z" else fields[19]


def _born_elsewhere(pid: int) -> str:
    """Without /proc, what ps says; on Windows nothing is known of a process that is no child of ours."""
    if Path("/proc/self/stat").exists() or os.name == "nt":
        return ""
    try:
        said = subprocess.run(
            ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state, _, began = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else began.strip()
