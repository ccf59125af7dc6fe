"""The operator's file: mode changes, e-stop, confirmations, and latched interlocks, one line of JSON each.

It is a file beside the plant, not a port of the server: it needs no server to be alive, an e-stop in it outlives every
restart, and who may write it is a matter of the machine's own accounts. Everybody who can write the file may stop the
plant; all else must carry the operator's token, as an HMAC over the line and the lines before it, so that no line can
be forged, moved or repeated.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from rlbridge.plants.plant import PlantRefused
from rlbridge.plants.settings import MODES

log = logging.getLogger("rlbridge.plants")
_MOST_BYTES = 1 << 26


class OperatorRefused(PermissionError):
    """The command is not an operator's: the token is missing or wrong."""


class NoOperator(ValueError):
    """The plant has no operator's file; the message says how it gets one."""


@dataclass(frozen=True)
class Standing:
    """What an operator's file says, from its first line to its last.

    Attributes:
        estop: why the plant is stopped, or "".
        mode: in force instead of the one in serve.yaml; None: that one.
        latched: the ``when`` of interlocks that stay engaged.
        confirmed: the number of the last advice that was confirmed.
        confirmations: how many there were.
        refused: lines that no operator signed.
        unreadable: the file or its token cannot be read, which to a gate is an e-stop.
    """

    estop: str = ""
    mode: str | None = None
    latched: frozenset[str] = frozenset()
    confirmed: int | None = None
    confirmations: int = 0
    refused: int = 0
    unreadable: bool = False


class OperatorFile:
    """Reads the operator's file and adds to it.

    Args:
        path: of the file; the token is in ``path`` + ``.token``, readable by the operator and the server.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token_path = path.with_name(path.name + ".token")
        self._seen: Any = None
        self._standing = Standing()

    def create(self) -> None:
        """Make the file, and a token that only this account can read. What is there already stays."""
        if not self.token_path.exists():
            descriptor = os.open(self.token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
        self.path.touch()

    def standing(self) -> Standing:
        """What is in force now. Looks at the file's size and time first, so it may be called in every step.

        A file that is gone or cannot be read stops the plant: nobody could stop it otherwise.
        """
        try:
            status = self.path.stat()
            now = (status.st_size, status.st_mtime_ns, status.st_ino)
            if now != self._seen:
                self._standing = _fold(_content(self.path), self._token())
                self._seen = now
        except OSError as error:
            self._seen = None
            return replace(
                self._standing,
                estop=f"the operator's file cannot be read ({error}); make it with rlbridge plant init "
                f"{self.path.parent}",
                unreadable=True,
            )
        return self._standing

    def command(self, verb: str, by: str, token: str | None, **arguments: Any) -> None:
        """Add a line: ``estop``, ``clear``, ``mode`` or ``confirm``.

        Raises:
            OperatorRefused: the token is needed and is not the right one. OSError: the file cannot be written.
        """
        if verb == "estop":
            self._add({"command": verb, "by": by, **arguments})
            return
        if not hmac.compare_digest((token or "").strip().encode(), self._token()):
            raise OperatorRefused(
                f"{verb!r} needs the operator's token, which is in {self.token_path}; this is another one"
            )
        self._add({"command": verb, "by": by, **arguments}, self._token())

    def check_writable(self) -> None:
        """For interlocks that latch: one that is not noted here would be gone with the next reset.

        Raises:
            PlantRefused: this account cannot write the file.
        """
        if not os.access(self.path, os.W_OK):
            raise PlantRefused(
                f"{self.path} cannot be written by this account, but interlocks that latch are kept there"
            )

    def latch(self, when: str) -> None:
        """Note that an interlock has latched."""
        self._add({"command": "latch", "when": when})

    def _add(self, line: dict[str, Any], token: bytes | None = None) -> None:
        line = {"at": round(time.time(), 6), **line}
        with self.path.open("a+b") as file:
            file.seek(0)
            before = file.read()
            if before and not before.endswith(b"\n"):
                file.write(b"\n")
                before += b"\n"
            if token is not None:
                line["signature"] = _signature(token, hashlib.sha256(before), line)
            file.write(json.dumps(line).encode() + b"\n")

    def _token(self) -> bytes:
        token = _content(self.token_path).strip()
        if len(token) < 16:
            raise OSError(f"the token in {self.token_path} has {len(token)} characters, 16 are the least")
        return token


def who() -> str:
    """This account's name, or its number where it has none: that must not keep anybody from an e-stop."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"account {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def operator_file(place: Path) -> OperatorFile:
    """The operator's file of a plant; ``place`` is its folder, its serve.yaml, or the file itself.

    Raises:
        NoOperator: there is no serve.yaml, or it names none.
    """
    path = _serve_file(place)
    if path is None:
        return OperatorFile(place)
    try:
        name = _gate(path)["operator"]
    except (KeyError, TypeError):
        raise NoOperator(f"{path} names no operator's file: add `operator: operator.jsonl` under gate:") from None
    return OperatorFile(path.parent / str(name))


def audit_file(place: Path) -> Path:
    """The audit of the same plant; beside an operator's file, the one that is called audit.jsonl.

    Raises:
        NoOperator: there is no serve.yaml.
    """
    path = _serve_file(place)
    if path is None:
        return place.parent / "audit.jsonl"
    try:
        name = _gate(path)["audit"]
    except (KeyError, TypeError):
        name = None
    return path.parent / str(name or "audit.jsonl")


def _serve_file(place: Path) -> Path | None:
    if place.is_dir():
        return place / "serve.yaml"
    return place if place.suffix in (".yaml", ".yml") else None


def _gate(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())["gate"]
    except (OSError, yaml.YAMLError) as error:
        raise NoOperator(f"cannot read {path}: {error}") from error


def _content(path: Path) -> bytes:
    """All of a file; of a regular one, since reading a pipe or a device may never end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no file")
    if status.st_size > _MOST_BYTES:
        raise OSError(f"{path} has {status.st_size} bytes, the limit is {_MOST_BYTES}")
    return path.read_bytes()


def _signature(token: bytes, before: Any, line: dict[str, Any]) -> str:
    text = json.dumps({key: value for key, value in line.items() if key != "signature"}).encode()
    return hmac.new(token, before.digest() + text, "sha256").hexdigest()


def _fold(content: bytes, token: bytes) -> Standing:
    standing, hashed = Standing(), hashlib.sha256()
    for text in content.splitlines(keepends=True):
        before = hashed.copy()
        hashed.update(text)
        try:
            line = json.loads(text)
            command = line["command"]
            if command == "estop":
                standing = replace(standing, estop=f"e-stop by {line.get('by', 'somebody')}")
                continue
            if command == "latch":
                standing = replace(standing, latched=standing.latched | {str(line["when"])})
                continue
            if not hmac.compare_digest(str(line.get("signature")), _signature(token, before, line)):
                raise ValueError("its signature is not the operator's")
            if command == "clear":
                standing = replace(standing, estop="", latched=frozenset())
            elif command == "mode" and line["mode"] in MODES:
                standing = replace(standing, mode=line["mode"])
            elif command == "confirm":
                count = standing.confirmations + 1
                standing = replace(standing, confirmed=int(line["advice"]), confirmations=count)
            else:
                raise ValueError(f"the command {command!r} is unknown")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            log.warning("a line of the operator's file is not obeyed: %s: %s", error, text[:200])
            standing = replace(standing, refused=standing.refused + 1)
    return standing
