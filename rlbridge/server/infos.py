"""The infos of a batch, as Gymnasium lays them out: a column for each key and a mask of the rows that have it."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbridge.wire.tensors import Array


def add_row(columns: dict[str, Any], info: dict[str, Any], row: int, num_envs: int) -> None:
    """Add one row's info to the columns, in place.

    The rules are those of ``gymnasium.vector.VectorEnv`` (1.0 and later): numbers and arrays become typed columns,
    dictionaries become nested columns, the rest columns of objects; ``_key`` masks the rows that have ``key``.
    """
    for key, value in info.items():
        if isinstance(value, dict):
            column = columns.setdefault(key, {})
            if isinstance(column, dict):
                add_row(column, value, row, num_envs)
        else:
            column = columns.get(key)
            if column is None:
                column = columns[key] = _new_column(value, num_envs)
            columns[key] = _assign(column, row, value)
        mask = columns.setdefault(f"_{key}", np.zeros(num_envs, np.bool_))
        mask[row] = True


def _new_column(value: Any, num_envs: int) -> Array:
    if type(value) in (int, float, bool) or isinstance(value, np.number):
        return np.zeros(num_envs, dtype=type(value))
    if isinstance(value, np.ndarray):
        return np.zeros((num_envs, *value.shape), dtype=value.dtype)
    return np.full(num_envs, None, dtype=object)


def _assign(column: Any, row: int, value: Any) -> Any:
    """Set one entry; a row whose value has another type or shape than the first one's turns the column to objects."""
    try:
        column[row] = value
    except (ValueError, TypeError, OverflowError):
        objects = np.full(len(column), None, dtype=object)
        for i, entry in enumerate(column):
            objects[i] = entry
        objects[row] = value
        return objects
    return column
