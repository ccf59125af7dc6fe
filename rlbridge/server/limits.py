"""What a server allows, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one server; Describe tells them to every client.

    Attributes:
        max_sessions: sessions open at a time.
        max_sessions_per_client: of those, for one caller (a network address); None: all.
        max_opens_per_second: sessions that one caller may open in a second.
        max_envs: sub-environments of one session.
        max_message_bytes: the largest message sent or taken.
        kept_outcomes: outcomes each session keeps for repeated requests (W in protos/rlbridge/v1/env.proto).
        lease_seconds: a session without any sign of its client for this long is closed.
        silent_seconds: a stream that has not named a session after this long is ended.
        wait_seconds: how long a request waits for another one of its session that is still executing.
        show_tracebacks: whether clients see the environment's traceback.
    """

    max_sessions: int = 64
    max_sessions_per_client: int | None = None
    max_opens_per_second: int = 500
    max_envs: int = 1024
    max_message_bytes: int = 64 * 1024 * 1024
    kept_outcomes: int = 4
    lease_seconds: float = 60.0
    silent_seconds: float = 10.0
    wait_seconds: float = 60.0
    show_tracebacks: bool = True
