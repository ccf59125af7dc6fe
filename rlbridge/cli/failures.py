"""How a verb fails: one clear message on stderr and an exit code that scripts can rely on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

FAILED = 1
BAD_INPUT = 2
NO_SERVER = 3

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed; 2 bad arguments, run file or target; 3 no server there, or it refused; "
    "130 and 143 ended by Ctrl-C and SIGTERM, with everything saved."
)


@contextmanager
def reported() -> Iterator[None]:
    """Turn the errors that rlbridge itself raises into a message and an exit code; the rest are bugs and keep theirs.

    Raises:
        SystemExit: with the code.
    """
    try:
        yield
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(f"rlbridge: {error}", file=sys.stderr)
        raise SystemExit(code) from error


def _exit_code(error: Exception) -> int | None:
    from rlbridge import errors
    from rlbridge.config import ConfigError
    from rlbridge.play.encoding import UnsupportedSpace

    if isinstance(error, ModuleNotFoundError) and "pip install" in str(error):
        return BAD_INPUT
    if not type(error).__module__.startswith("rlbridge."):
        return None
    if isinstance(error, (errors.RemoteEnvError, errors.InvalidAction, errors.WireError)):
        return FAILED
    if isinstance(error, errors.BridgeError):
        return NO_SERVER
    bad_input = (
        *(ConfigError, UnsupportedSpace),
        *(errors.BadTarget, errors.BindRefused, errors.UnknownFactory, errors.PortTaken),
    )
    if isinstance(error, bad_input):
        return BAD_INPUT
    return FAILED
