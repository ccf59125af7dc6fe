"""Files of runs for the browser: some names, from inside a run's folder, and nothing else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastapi import FastAPI
from nicegui import ui
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from rlbridge.runs.folder import RunFolderError
from rlbridge.studio.workshop import Workshop

_SHOWN = {"before.gif": "image/gif", "after.gif": "image/gif", "now.gif": "image/gif", "curve.png": "image/png"}
_SAVED = {
    "policy.onnx": "application/octet-stream",
    "policy.json": "application/json",
    "config.yaml": "text/plain; charset=utf-8",
    "metrics.jsonl": "text/plain; charset=utf-8",
    "episodes.csv": "text/csv; charset=utf-8",
    "log.txt": "text/plain; charset=utf-8",
}
_TYPES = {**_SHOWN, **_SAVED}
_CHUNK = 1 << 18
_LINKS_SECONDS = 5.0


def add_files(app: FastAPI, workshop: Workshop) -> None:
    """``GET /files/{run}/{file}``: 404 for any other name, for what is not there, and for links."""

    @app.get("/files/{run}/{file}")
    def file_of_run(run: str, file: str) -> Response:
        try:
            if file not in _TYPES:
                raise FileNotFoundError(file)
            opened, size = _open(workshop.runs.path(run) / file)
        except (RunFolderError, OSError):
            return PlainTextResponse("there is no such file", 404)
        headers = {"content-length": str(size), "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        if file in _SAVED:
            headers["content-disposition"] = f'attachment; filename="{run}-{file}"'
        return StreamingResponse(_chunks(opened, size), media_type=_TYPES[file], headers=headers)


def file_links(path: Path) -> None:
    """Links to those files that the run in the folder ``path`` has; one that comes later gets its own."""
    shown: list[str] = []
    row = ui.row().mark("files")

    async def show() -> None:
        there = await asyncio.to_thread(lambda: [name for name in _TYPES if (path / name).is_file()])
        if there == shown:
            return
        shown[:] = there
        row.clear()
        with row:
            for name in there:
                link = ui.link(name, f"/files/{path.name}/{name}").mark(f"file-{name}")
                link.props(f"download data-testid=file-{name.replace('.', '-')}" if name in _SAVED else "target=_blank")

    ui.timer(_LINKS_SECONDS, show)


def version(path: Path) -> str:
    """Changes when the file does; empty where there is none. For the address of a picture that is made anew."""
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""


def _open(path: Path) -> tuple[BinaryIO, int]:
    """The file and its size in bytes. Raises OSError where it is no file, or a link, wherever that leads."""
    if path.is_symlink():
        raise OSError("a link")
    # Not followed either if it has become a link just now; and a pipe would be waited for.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise OSError("no file")
    return os.fdopen(descriptor, "rb"), facts.st_size


def _chunks(opened: BinaryIO, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes: a run that goes on may have written more meanwhile."""
    with opened:
        while size > 0 and (chunk := opened.read(min(size, _CHUNK))):
            size -= len(chunk)
            yield chunk
