"""A process of our own that answers lines of JSON, each within a deadline."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rlbridge.plants.plant import PlantLost


class Child:
    """Runs a Python script. One that does not answer in time is killed; each call says whose fault it was.

    Args:
        script: reads and answers lines of JSON.
        what: its name in errors.
    """

    def __init__(self, script: Path, what: str) -> None:
        self._what = what
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="rlbridge-child", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, timeout: float, **request: Any) -> Any:
        """Send a request; returns what it is answered.

        Raises:
            PlantLost: the process hangs (it is killed), or has ended; says with which signal or exit code.
            ChildError: the answer is an error.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(request)}\n")
            line = self._answers.get(timeout=timeout)
        except (BrokenPipeError, ValueError):  # ValueError: closed before
            line = ""
        except queue.Empty:
            self._process.kill()
            self.close(0)
            raise PlantLost(
                f"{self._what} gave no answer to {request['do']!r} within {timeout:g} s; its process was killed"
            ) from None
        if not line:
            self.close(1)
            raise PlantLost(f"{self._what} crashed in {request['do']!r}: {self._end()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self._what} failed in {request['do']!r}: {answer['error']}")
        return answer["ok"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _end(self) -> str:
        code = self._process.returncode
        return f"its process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def close(self, patience: float) -> None:
        """Let it end by itself for ``patience`` seconds, then kill it. Idempotent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)
        if not self._reader.is_alive():  # else a process that the child started holds the other end
            self._process.stdout.close()


class ChildError(RuntimeError):
    """The process answered that it could not do that; the message is its own."""
