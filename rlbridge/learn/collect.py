"""The only code that knows autoreset: it steps a vector environment and fills rollouts with real transitions."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from numpy.typing import NDArray

from rlbridge.learn import env_state
from rlbridge.learn.gate_counts import GateCounts
from rlbridge.learn.policy import Policy
from rlbridge.learn.rollout import Rollout
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.stops import Stopped
from rlbridge.learn.transition import Step
from rlbridge.play.actions import NotFinite


class Episode(NamedTuple):
    """A finished episode: after how many transitions of the run it ended, its return (raw rewards), its length."""

    step: int
    total: float
    length: int


class StepCollector:
    """Steps ``envs``, one call a step, in SAME_STEP or NEXT_STEP autoreset mode.

    Args:
        envs: the environments.
        policy: encodes observations and turns raw actions into the environment's.
        seeds: where the seeds of resets come from.
        timeout: seconds that a step in processes may take.

    Attributes:
        transitions: real transitions handed out so far, all environments together.
        dropped: rows so far that came with ``infos["bridge_valid"]`` false.
        gates: what plants' gates said since it was last taken.
        episodes: those that finished since :meth:`take_episodes`.
        observation: the encoded observations ``[N, *shape]`` to act on next; None before a reset. Setting it to None
            ends the episodes there are: the next collection begins new ones, seeded by the transitions so far.
        filled: steps of a rollout that :class:`Stopped` broke off; the next collection goes on there.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], policy: Policy, seeds: Seeds, timeout: float = 60.0) -> None:
        # Without the tag Gymnasium, too, assumes NEXT_STEP.
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            raise ValueError(f"the environments' autoreset mode is {mode}; SAME_STEP or NEXT_STEP is needed")
        self.envs, self.policy, self.seeds, self.timeout = envs, policy, seeds, timeout
        self.next_step_mode = mode == AutoresetMode.NEXT_STEP
        self.transitions = 0
        self.dropped = 0
        self.gates = GateCounts()
        self.episodes: list[Episode] = []
        self.observation: NDArray[Any] | None = None
        self._sent: NDArray[Any] | None = None
        self.filled = 0
        self._rollout: Rollout | None = None  # the one that is filled so far
        self._broken_off: dict[str, Any] | None = None  # its rows, if they come from a checkpoint
        self._drawn = policy.generator.get_state()  # before that rollout's noise
        n = envs.num_envs
        self.resetting = np.zeros(n, dtype=np.bool_)
        self.returns, self.lengths = np.zeros(n), np.zeros(n, dtype=np.int64)

    def reset(self) -> NDArray[Any]:
        """Begin every environment anew, seeded; returns the encoded first observations ``[N, *shape]``."""
        observations, _ = self.envs.reset(seed=self.seeds.of_reset(self.transitions))
        self.resetting[:], self.returns[:], self.lengths[:] = False, 0.0, 0
        self.observation = self.policy.encoder.batch(observations)
        self._require_finite("observation", self.observation, f"at the reset after step {self.transitions}")
        return self.observation

    def collect(self, rollout: Rollout, check: Callable[[], None] = lambda: None) -> None:
        """Fill ``rollout`` by following the policy.

        ``check`` is called before every step and may raise. After :class:`Stopped` the next call, or a resumed run's,
        goes on where this one broke off. After anything else it is as if this call had not been made, but for the
        episodes: new ones begin.

        Raises:
            NotFinite: a reward or an observation is NaN or infinite; says where.
        """
        before = self.transitions, self.dropped, self.filled, len(self.episodes)
        drawn = self.policy.generator.get_state()
        try:
            self._fill(rollout, check)
        except Stopped:
            if not self.filled:
                self.policy.generator.set_state(drawn)
            raise
        except BaseException:
            self.transitions, self.dropped, self.filled, episodes = before
            del self.episodes[episodes:]
            self.policy.generator.set_state(drawn)
            self.observation = None
            raise
        self.filled = 0

    def _fill(self, rollout: Rollout, check: Callable[[], None]) -> None:
        distribution, device = self.policy.distribution, self.policy.device
        self._begin(rollout)
        noise = distribution.noise(rollout.steps, rollout.num_envs, generator=self.policy.generator).to(device)
        for t in range(self.filled, rollout.steps):
            check()
            if self.observation is None:
                self._begin_anew(rollout, t)
            with torch.inference_mode():
                raw = distribution.sample(self.policy(rollout.observation[t].to(device)), noise[t])
                rollout.action_np[t] = raw.cpu().numpy()
            self._store(rollout, t, self.step(self.policy.actions.to_environment(rollout.action_np[t])))

    def _store(self, rollout: Rollout, t: int, step: Step) -> None:
        rollout.observation_np[t + 1] = step.observation
        rollout.reward[t] = step.reward
        rollout.terminated[t] = step.terminated
        rollout.truncated[t] = step.truncated
        rollout.valid[t] = step.valid
        for i, final in step.final.items():
            rollout.final[t, i] = final
        self.filled = t + 1

    def _begin(self, rollout: Rollout) -> None:
        """Make ``rollout`` ready to be filled, or filled further, and the generator to draw its noise."""
        self._rollout = rollout
        if self.filled:
            self.policy.generator.set_state(self._drawn)
            if self._broken_off is not None:
                rollout.load_state_dict(self._broken_off)
                self._broken_off = None
        else:
            self._drawn = self.policy.generator.get_state()
            rollout.final.clear()
            if self.observation is not None:
                rollout.observation_np[0] = self.observation

    def _begin_anew(self, rollout: Rollout, t: int) -> None:
        """Begin new episodes at step ``t``; those that were under way there are cut short for the learner."""
        first = self.reset()
        if t:
            cut = rollout.valid[t - 1] & ~rollout.terminated[t - 1] & ~rollout.truncated[t - 1]
            rollout.truncated[t - 1, cut] = True
            for i in np.flatnonzero(cut):
                rollout.final[t - 1, int(i)] = rollout.observation_np[t, i].copy()
        rollout.observation_np[t] = first

    def step(self, actions: NDArray[Any]) -> Step:
        """Send ``actions`` (in the environment's units, batch axis first) and sort out what comes back."""
        self.send(actions)
        return self.receive()

    def send(self, actions: NDArray[Any]) -> None:
        """Let the environments begin a step; those on a server or in processes do it while the caller goes on."""
        if isinstance(self.envs, AsyncVectorEnv):
            self.envs.step_async(actions)
        elif hasattr(self.envs, "send"):
            self.envs.send(actions)
        else:
            self._sent = actions

    def receive(self) -> Step:
        """What the step that was sent led to.

        Raises:
            NotFinite: a reward or an observation is NaN or infinite; says where.
        """
        observations, rewards, terminated, truncated, infos = self._answer()
        self.observation = self.policy.encoder.batch(observations)
        valid, dropped = ~self.resetting, 0
        if "bridge_valid" in infos:
            dropped = int((valid & ~infos["bridge_valid"]).sum())
            valid &= infos["bridge_valid"]
        # Rows that are no transitions may hold anything; nothing may come of it.
        reward = np.where(valid, rewards, 0.0).astype(np.float32)
        transitions = self.transitions + int(np.count_nonzero(valid))
        ended = terminated | truncated
        final: dict[int, NDArray[Any]] = {}
        at = f"at step {transitions}"
        self._require_finite("reward", reward, at)
        self._require_finite("observation", self.observation, at)
        if not self.next_step_mode and ended.any():
            final = self._final(infos, np.flatnonzero(ended & valid), at)
        # From here on nothing is refused any more: only what is handed out counts.
        self.transitions, self.dropped = transitions, self.dropped + dropped
        self.gates.add(infos, valid)
        self.returns += reward
        self.lengths += valid
        if ended.any():
            self._finish(ended, valid)
        self.resetting = ended & self.next_step_mode
        return Step(self.observation, reward, terminated, truncated, valid, final)

    def _answer(self) -> Any:
        if isinstance(self.envs, AsyncVectorEnv):
            try:
                return self.envs.step_wait(timeout=self.timeout)
            except multiprocessing.TimeoutError:
                raise TimeoutError(
                    f"an environment's process did not answer a step within {self.timeout:g} s (env.timeout). It "
                    "hangs, or steps take longer than that."
                ) from None
        if self._sent is None:
            return self.envs.recv()  # type: ignore[attr-defined]
        actions, self._sent = self._sent, None
        return self.envs.step(actions)

    def take_episodes(self) -> list[Episode]:
        """The episodes that finished since the last call."""
        episodes, self.episodes = self.episodes, []
        return episodes

    def _finish(self, ended: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        for i in np.flatnonzero(ended):
            # An episode that the bridge cut short says nothing about the policy.
            if valid[i]:
                self.episodes.append(Episode(self.transitions, float(self.returns[i]), int(self.lengths[i])))
            self.returns[i], self.lengths[i] = 0.0, 0

    def _final(self, infos: dict[str, Any], indices: NDArray[np.int64], at: str) -> dict[int, NDArray[Any]]:
        if len(indices) and "final_obs" not in infos:
            raise KeyError(
                f"environment row {indices[0]} ended in SAME_STEP mode without infos['final_obs']; "
                "its true last observation is needed"
            )
        final = {int(i): self.policy.encoder.single(infos["final_obs"][i]) for i in indices}
        for i, row in final.items():
            self._require_finite("final observation", row[None], at, i)
        return final

    def _require_finite(self, what: str, values: NDArray[Any], at: str, row_index: int | None = None) -> None:
        if values.dtype == np.uint8:
            return
        finite = np.isfinite(values)
        if finite.all():
            return
        row = int(np.argwhere(~finite)[0][0])
        raise NotFinite(
            f"environment row {row if row_index is None else row_index} gave the {what} "
            f"{values[row].tolist()} {at}; it must be finite."
        )

    def state_dict(self) -> dict[str, Any]:
        """Counters, episodes not yet taken, the part of a rollout there is; and where the environments can be
        restored, their states."""
        under_way = None
        environments = None if self.observation is None else env_state.capture(self.envs)
        if self.observation is not None and environments is not None:
            under_way = {
                "environments": environments,
                "observation": self.observation.copy(),
                "resetting": self.resetting.copy(),
                "returns": self.returns.copy(),
                "lengths": self.lengths.copy(),
            }
        rows = self._broken_off if self._rollout is None else self._rollout.state_dict(self.filled)
        return {
            "transitions": self.transitions,
            "dropped": self.dropped,
            "episodes": np.array(self.episodes, dtype=np.float64).reshape(-1, 3),
            "under_way": under_way,
            "rollout": {"drawn": self._drawn, "rows": rows} if self.filled else None,
        }

    def load_state_dict(self, state: dict[str, Any], same_environments: bool = True) -> None:
        """Go on from what :meth:`state_dict` gave.

        Args:
            state: of a collector with as many environments.
            same_environments: whether these are made as those were; others are not brought into their states.

        Where the environments are not restored, ``observation`` is None: new episodes begin.
        """
        self.transitions, self.dropped = int(state["transitions"]), int(state["dropped"])
        self.episodes = [Episode(int(step), float(total), int(length)) for step, total, length in state["episodes"]]
        self.observation, self.filled, self._rollout = None, 0, None
        if state["rollout"] is not None:
            self._drawn, self._broken_off = state["rollout"]["drawn"], state["rollout"]["rows"]
            self.filled = len(self._broken_off["reward"])
            torch.Generator().set_state(self._drawn)  # raises, if it is none
        under_way = state["under_way"]
        if under_way is None or not same_environments:
            return
        observation = self.reset()  # what only a reset makes is then there
        if env_state.restore(self.envs, under_way["environments"]):
            observation[:] = under_way["observation"]
            for name in ("resetting", "returns", "lengths"):
                getattr(self, name)[:] = under_way[name]
        else:
            self.observation = None
