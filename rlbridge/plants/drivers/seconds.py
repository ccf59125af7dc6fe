"""Durations among a driver's keys are written as everywhere in a serve.yaml."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from rlbridge.plants.settings import Period

_PERIOD: TypeAdapter[float] = TypeAdapter(Period)


def seconds(key: str, value: float | str) -> float:
    """``2``, ``100 ms`` or ``1 min`` as seconds.

    Raises:
        ValueError: it is none, or not greater than 0; names the key.
    """
    try:
        return _PERIOD.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{key}: {error.errors()[0]['msg']} (got {value!r})") from error
