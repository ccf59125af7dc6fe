"""What a session needs of an environment, be it one, a batch of rows, or a batch that is native."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.wire import BlockCodec


@dataclass(frozen=True)
class ResetCommand:
    """A decoded reset.

    Attributes:
        seed: for a batch, row i gets seed + i.
        row_seeds: instead of ``seed``, one entry a row.
        options: handed to the environment.
        mask: rows to reset; None for all.
    """

    seed: int | None = None
    row_seeds: list[int | None] | None = None
    options: dict[str, Any] | None = None
    mask: list[bool] | None = None


@dataclass
class Outcome:
    """What a reset or a step gave, packed. The fields are those of StepResponse in env.proto."""

    observation: list[bytes]
    info: dict[str, Any]
    reward: bytes = b""
    terminated: bytes = b""
    truncated: bytes = b""
    valid: bytes = b""
    was_reset: bytes = b""
    final_rows: list[int] = field(default_factory=list)
    final_observation: list[bytes] = field(default_factory=list)


class Environment(Protocol):
    """One environment (``num_envs`` = 0) or a batch, behind packed observations and actions.

    Whatever is refused before anything was touched raises InvalidAction, WireError, NeedsReset or Unsupported;
    whatever goes wrong inside the environment raises RemoteEnvError.
    """

    num_envs: int
    observations: BlockCodec
    actions: BlockCodec
    metadata: dict[str, Any]

    @property
    def autoreset_mode(self) -> AutoresetMode | None: ...

    def reset(self, command: ResetCommand) -> Outcome: ...

    def step(self, action: list[bytes]) -> Outcome: ...

    def render(self) -> Any: ...

    def close(self) -> None: ...
