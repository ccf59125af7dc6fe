"""Throwaway certificates for the tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority of its own, with what it signed, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = str(folder / "ca.pem")
        _openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem", folder)

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for 127.0.0.1 and localhost; returns the paths of the certificate and its key."""
        (self.folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr", self.folder)
        _openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-extfile {name}.ext -out {name}.pem",
            self.folder,
        )
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")


def _openssl(arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True, timeout=60)
