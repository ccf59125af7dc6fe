"""A peer of a driver: a real server of its protocol in a process of its own, ruled over its standard input."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from tests.conftest import ROOT


class Peer:
    """Runs ``python -m MODULE PORT ARGUMENTS``; the module prints ``ready`` and answers every line with one line.

    Args:
        module: such as ``tests.plants.opcua_server``.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module, self._arguments = module, arguments
        with socket.socket() as probe:  # the kernel picks; a restart needs the same one
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", self._module, str(self.port), *self._arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, line: str) -> str:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def hang(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()
