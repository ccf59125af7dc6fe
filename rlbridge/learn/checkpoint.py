"""A checkpoint is a folder: ``state.json``, ``tensors.safetensors``, ``arrays.npz``. No pickle; whole or not there.

What is read is not trusted: sums are compared, no more is allocated than the files are long, nothing in them is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

FORMAT = 3
_TENSORS, _ARRAYS, _STATE = "tensors.safetensors", "arrays.npz", "state.json"
_MOST_STATE = 256 << 20
"""Bytes of ``state.json``, which holds no arrays: many times what an environment with large tables needs."""
_ADVICE = "Use another checkpoint of the run."


class CheckpointError(ValueError):
    """A checkpoint is missing, torn, altered, of another run, or of a format that this version does not read."""


class OtherFormat(CheckpointError):
    """A checkpoint of another version of rlbridge; it may be sound."""


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` as ``folder``, replacing an earlier one; a crash leaves the old one or the new one whole.

    One process at a time may write to ``folder``'s parent.

    Args:
        folder: becomes the checkpoint; its parent must exist.
        state: nested dicts with string keys and lists, of tensors, arrays, numbers, strings, booleans and None.
    """
    tensors: dict[str, torch.Tensor] = {}
    arrays: dict[str, NDArray[Any]] = {}
    tree = _take_apart(state, "", tensors, arrays)
    draft, old = _beside(folder, "draft"), _beside(folder, "old")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    save_file(tensors, draft / _TENSORS)
    np.savez(draft / _ARRAYS, **arrays)  # type: ignore[arg-type]
    sums = {name: _sha256(draft / name) for name in (_TENSORS, _ARRAYS)}
    text = json.dumps({"format": FORMAT, "sha256": {**sums, "state": _sum_of(tree)}, "state": tree}, indent=1)
    (draft / _STATE).write_text(text, encoding="utf-8")
    for path in (*draft.iterdir(), draft):
        _sync(path)
    replaced = folder.exists()
    if replaced:
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)  # a reader takes this one until the new one is in place
    draft.rename(folder)
    _sync(folder.parent)
    if replaced:
        shutil.rmtree(old)
    return folder


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; tensors come back on the CPU.

    Raises:
        CheckpointError: saying which file is missing, torn or altered, and what to do.
    """
    place = folder if folder.exists() or not _beside(folder, "old").exists() else _beside(folder, "old")
    tree, sums = _read_state(place)
    try:
        for name in (_TENSORS, _ARRAYS):
            if not (place / name).is_file():
                raise CheckpointError(f"{place / name} is missing. {_ADVICE}")
            if _sha256(place / name) != sums.get(name):
                raise CheckpointError(f"{place / name} is torn: it is not what was written. {_ADVICE}")
        tensors = load_tensors((place / _TENSORS).read_bytes())
        state = _put_together(tree, tensors, _read_arrays(place / _ARRAYS))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{place} cannot be read: {error!r}. {_ADVICE}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{place / _STATE} is no checkpoint: its state is a {type(state).__name__}. {_ADVICE}")
    return state


def load_last(
    folder: Path, wanted: Callable[[dict[str, Any]], bool] = lambda state: True
) -> tuple[Path, dict[str, Any], list[str]]:
    """The last whole ``step_<n>`` checkpoint in ``folder`` for which ``wanted`` holds, or else the last whole one.

    Returns:
        Its path, its state, and what is wrong with each later one that is not whole.

    Raises:
        CheckpointError: there is none, or none is whole; OtherFormat: the last is another version's.
    """
    torn: list[str] = []
    whole: tuple[Path, dict[str, Any]] | None = None
    for path in reversed(list_checkpoints(folder)):
        try:
            state = load_checkpoint(path)
        except OtherFormat:
            raise
        except CheckpointError as error:
            if whole is None:
                torn.append(str(error))
            continue
        if wanted(state):
            return path, state, torn
        whole = whole or (path, state)
    if whole is not None:
        return *whole, torn
    if torn:
        raise CheckpointError("\n  ".join([f"no checkpoint in {folder} is whole:", *torn]))
    raise CheckpointError(f"{folder} holds no checkpoint.")


def list_checkpoints(folder: Path) -> list[Path]:
    """The ``step_<n>`` checkpoints in ``folder``, by rising n."""
    found = [(int(m[1]), path) for path in folder.glob("step_*") if (m := re.fullmatch(r"step_(\d{1,18})", path.name))]
    return [path for _, path in sorted(found)]


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the ``keep`` latest ``step_<n>`` checkpoints."""
    for path in list_checkpoints(folder)[:-keep]:
        # Renamed first, so that a crash half-way leaves no half checkpoint under a good name.
        gone = _beside(path, "gone")
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def set_aside(path: Path) -> None:
    """Take a checkpoint that is not to be used out of the way, as ``<name>.aside``."""
    aside = path.with_name(f"{path.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def tidy_checkpoints(folder: Path, names: str) -> None:
    """Finish what a crash interrupted, for the checkpoints in ``folder`` that are called as the pattern ``names``.

    The old of a half replaced checkpoint is put back; drafts and what was about to be deleted go.
    """
    for old in folder.glob(f".{names}.old"):
        checkpoint = old.with_name(old.name[1:-4])
        if not checkpoint.exists():
            old.rename(checkpoint)
    for kind in ("old", "draft", "gone"):
        for left in folder.glob(f".{names}.{kind}"):
            shutil.rmtree(left, ignore_errors=True)


def require_like(state: Any, wanted: Any, path: str = "", vary: frozenset[str] = frozenset()) -> None:
    """Refuse a state that is not built as ``wanted`` is: the same keys, kinds, shapes and dtypes.

    An empty dict in ``wanted`` takes any dict; arrays whose path is in ``vary`` may have any number of rows.

    Raises:
        CheckpointError: names the first thing that differs, and both shapes.
    """
    if isinstance(wanted, dict):
        if not isinstance(state, dict):
            raise CheckpointError(f"the checkpoint's {path} is a {type(state).__name__}, not a group of values.")
        if not wanted:
            return
        for key in wanted:
            if key not in state:
                raise CheckpointError(f"the checkpoint has no {f'{path}/{key}'.lstrip('/')}.")
            require_like(state[key], wanted[key], f"{path}/{key}".lstrip("/"), vary)
        for key in state:
            if key not in wanted:
                raise CheckpointError(f"the checkpoint has a {path}/{key}, which this run has no use for.")
    elif isinstance(wanted, (torch.Tensor, np.ndarray)):
        kind = torch.Tensor if isinstance(wanted, torch.Tensor) else np.ndarray
        if not isinstance(state, kind):
            raise CheckpointError(f"the checkpoint's {path} is a {type(state).__name__}, not a {kind.__name__}.")
        free = path in vary and len(state.shape) > 0
        same = tuple(state.shape[free:]) == tuple(wanted.shape[free:]) and state.dtype == wanted.dtype
        if not same:
            raise CheckpointError(
                f"the checkpoint's {path} is {state.dtype} {tuple(state.shape)}, this run's is {wanted.dtype} "
                f"{tuple(wanted.shape)}."
            )
    elif type(state) is not type(wanted):
        raise CheckpointError(
            f"the checkpoint's {path} is a {type(state).__name__}, this run's a {type(wanted).__name__}."
        )


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _read_state(place: Path) -> tuple[Any, dict[str, Any]]:
    path = place / _STATE
    if not path.is_file():
        raise CheckpointError(f"{place} holds no checkpoint ({_STATE} is missing).")
    try:
        if path.stat().st_size > _MOST_STATE:
            raise ValueError(f"it is {path.stat().st_size:,} bytes long, of {_MOST_STATE:,} allowed")
        outer = json.loads(path.read_text(encoding="utf-8"))
        version, sums, tree = outer["format"], outer["sha256"], outer["state"]
        if version == FORMAT and _sum_of(tree) != sums["state"]:
            raise ValueError("it is not what was written")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is torn or no checkpoint: {error!r}. {_ADVICE}") from None
    if version != FORMAT:
        raise OtherFormat(
            f"{place} has checkpoint format {version!r}; this version of rlbridge reads {FORMAT}. Use the version "
            "that wrote it."
        )
    return tree, sums


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """As ``np.load`` does, which would allocate whatever an array's header claims."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # np.savez does not compress: what unfolds to more than the file itself was made to do so.
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError(f"{path.name} claims to hold more than its {path.stat().st_size:,} bytes")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"{member.filename} is there twice")
            arrays[name] = _array(archive.read(member), member.filename)
    return arrays


def _array(content: bytes, name: str) -> NDArray[Any]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"{name} is of npy format {version}")
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects; only numbers and text are read")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{name} claims to be {dtype} {shape} in {len(content):,} bytes")
    if not math.prod(shape) or not dtype.itemsize:
        return np.empty(shape, dtype)
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")


def _take_apart(value: Any, path: str, tensors: dict[str, torch.Tensor], arrays: dict[str, NDArray[Any]]) -> Any:
    if path in tensors or path in arrays:
        raise TypeError(f"two values are called {path}")
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


def _put_together(value: Any, tensors: dict[str, torch.Tensor], arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$tensor"}:
            return tensors[value["$tensor"]]
        if set(value) == {"$array"}:
            return arrays[value["$array"]]
        return {key: _put_together(part, tensors, arrays) for key, part in value.items()}
    return [_put_together(part, tensors, arrays) for part in value] if isinstance(value, list) else value


def _sum_of(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    with contextlib.suppress(OSError):  # some systems cannot open, or sync, a folder
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
