"""A checkpoint is a folder: ``state.json``, ``tensors.safetensors``, ``arrays.npz``. No pickle; whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

FORMAT = 1
_TENSORS, _ARRAYS, _STATE = "tensors.safetensors", "arrays.npz", "state.json"


class CheckpointError(ValueError):
    """A checkpoint is missing, torn, altered, or of a format this version does not read."""


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` as ``folder``, replacing an earlier one; a crash leaves the old one or the new one whole.

    Args:
        folder: becomes the checkpoint; its parent must exist.
        state: nested dicts with string keys and lists, of tensors, arrays, numbers, strings, booleans and None.
    """
    tensors: dict[str, torch.Tensor] = {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = _take_apart(state, "", tensors, arrays)
    draft = folder.with_name(f".{folder.name}.draft-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    save_file(tensors, draft / _TENSORS)
    np.savez(draft / _ARRAYS, **arrays)  # type: ignore[arg-type]
    sums = {name: _sha256(draft / name) for name in (_TENSORS, _ARRAYS)}
    text = json.dumps({"format": FORMAT, "sha256": sums, "state": tree}, indent=1)
    (draft / _STATE).write_text(text, encoding="utf-8")
    for path in (*draft.iterdir(), draft):
        _sync(path)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old)
    else:
        draft.rename(folder)
    _sync(folder.parent)
    return folder


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; tensors come back on the CPU.

    Raises:
        CheckpointError: saying which file is missing, torn or altered, and what to do.
    """
    try:
        outer = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        version, sums, tree = outer["format"], outer["sha256"], outer["state"]
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no checkpoint ({_STATE} is missing).") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _STATE} is torn or no checkpoint: {error!r}. {_ADVICE}") from None
    if version != FORMAT:
        raise CheckpointError(f"{folder} has checkpoint format {version!r}; this version of rlbridge reads {FORMAT}.")
    for name in (_TENSORS, _ARRAYS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing. {_ADVICE}")
        if _sha256(folder / name) != sums.get(name):
            raise CheckpointError(f"{folder / name} is torn: it is not what was written. {_ADVICE}")
    try:
        tensors = load_tensors((folder / _TENSORS).read_bytes())
        with np.load(folder / _ARRAYS, allow_pickle=False) as archive:
            arrays = dict(archive)
        return _put_together(tree, tensors, arrays)  # type: ignore[no-any-return]
    except Exception as error:
        raise CheckpointError(f"{folder} cannot be read: {error!r}. {_ADVICE}") from None


def list_checkpoints(folder: Path) -> list[Path]:
    """The ``step_<n>`` checkpoints in ``folder``, by rising n."""
    found = [(int(m[1]), path) for path in folder.glob("step_*") if (m := re.fullmatch(r"step_(\d+)", path.name))]
    return [path for _, path in sorted(found)]


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the ``keep`` latest ``step_<n>`` checkpoints, and drafts that a crash left."""
    for path in list_checkpoints(folder)[:-keep]:
        # Renamed first, so that a crash half-way leaves no half checkpoint under a good name.
        gone = path.with_name(f".{path.name}.old-{os.getpid()}")
        path.rename(gone)
    for path in [*folder.glob(".step_*.old-*"), *folder.glob(".step_*.draft-*")]:
        shutil.rmtree(path, ignore_errors=True)


_ADVICE = "Use another checkpoint of the run."


def _take_apart(
    value: Any, path: str, tensors: dict[str, torch.Tensor], arrays: dict[str, np.ndarray[Any, Any]]
) -> Any:
    if isinstance(value, torch.Tensor):
        # clone: safetensors refuses tensors that share memory, as the minimiser's views do.
        tensors[path] = value.detach().cpu().clone().contiguous()
        return {"$tensor": path}
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"$array": path}
    if isinstance(value, dict):
        return {key: _take_apart(part, f"{path}/{key}".lstrip("/"), tensors, arrays) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_apart(part, f"{path}/{i}", tensors, arrays) for i, part in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}, which a checkpoint cannot hold")


def _put_together(value: Any, tensors: dict[str, torch.Tensor], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$tensor"}:
            return tensors[value["$tensor"]]
        if set(value) == {"$array"}:
            return arrays[value["$array"]]
        return {key: _put_together(part, tensors, arrays) for key, part in value.items()}
    return [_put_together(part, tensors, arrays) for part in value] if isinstance(value, list) else value


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    with contextlib.suppress(OSError):  # some systems cannot open, or sync, a folder
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
