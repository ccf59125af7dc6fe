"""Unix sockets as files: is a server alive behind one?"""

from __future__ import annotations

import socket


def answers(path: str) -> bool:
    """Whether somebody listens on the socket of that path; a file that a dead server left does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except BlockingIOError:  # so many are waiting to be accepted that there must be one who accepts
            return True
        except OSError:
            return False
        return True
