"""A driver's package that is not installed is one sentence that names the pip command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around the imports of a driver.

    Raises:
        ModuleNotFoundError: names the missing package and the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rlbridge"):
            raise
        what = f"this needs {error.name.split('.')[0]}: pip install 'rlbridge-toolkit[{extra}]'"
        raise ModuleNotFoundError(what, name=error.name) from error
