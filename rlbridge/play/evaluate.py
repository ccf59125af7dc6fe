"""How good a policy is: deterministic, seeded episodes in an environment of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlbridge.gymnasium_versions import AutoresetMode, VectorEnv
from rlbridge.play.actions import Actions
from rlbridge.play.encoding import Encoder


class Actor(Protocol):
    """Whatever turns raw observations, batch axis first, into the environment's actions."""

    def act(self, observation: Any, deterministic: bool = False) -> NDArray[Any]: ...


class Player(Actor, Protocol):
    """An actor that says which spaces it is for: the trainer's policy, and a policy file's."""

    encoder: Encoder
    actions: Actions


@dataclass(frozen=True)
class Evaluation:
    """Episodes played and their raw returns; lengths count steps."""

    episodes: int
    return_mean: float
    return_std: float
    length_mean: float
    returns: list[float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    policy: Actor,
    envs: VectorEnv[Any, Any, Any],
    episodes: int,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Play ``episodes`` deterministic episodes in ``envs``, shared out evenly over its rows.

    Which row plays which episode is settled beforehand: taking whichever episodes end first would favour short
    ones. The same policy, environments and seed give the same episodes.

    Args:
        policy: acts deterministically; its statistics do not move.
        envs: in SAME_STEP or NEXT_STEP autoreset mode; is reset first and not closed.
        episodes: how many, at least 1.
        seed: of the environments' reset.
        check: called before every step; may raise to break off.
    """
    n = envs.num_envs
    next_step = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP) == AutoresetMode.NEXT_STEP
    quota = np.array([len(range(i, episodes, n)) for i in range(n)])
    played: list[list[tuple[float, int]]] = [[] for _ in range(n)]
    totals, lengths, resetting = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    # A bridge that disowns a step disowns its episode: it is played again.
    observations, _ = envs.reset(seed=seed)
    while any(len(played[i]) < quota[i] for i in range(n)):
        check()
        actions = policy.act(observations, deterministic=True)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        owned = np.asarray(infos.get("bridge_valid", np.ones(n, dtype=np.bool_)))
        totals += np.where(resetting | ~owned, 0.0, rewards)
        lengths += ~resetting
        ended = terminated | truncated
        for i in np.flatnonzero(ended):
            if owned[i] and len(played[i]) < quota[i]:
                played[i].append((float(totals[i]), int(lengths[i])))
            totals[i], lengths[i] = 0.0, 0
        resetting = ended & next_step
    returns = [total for row in played for total, _ in row]
    return Evaluation(
        episodes=episodes,
        return_mean=float(np.mean(returns)),
        return_std=float(np.std(returns)),
        length_mean=float(np.mean([length for row in played for _, length in row])),
        returns=returns,
    )
