"""Steps environments and fills rollouts with real transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rlbridge.learn import env_state
from rlbridge.learn.gate_counts import GateCounts
from rlbridge.learn.policy import Policy
from rlbridge.learn.rollout import Rollout
from rlbridge.learn.seeds import Seeds
from rlbridge.learn.split_envs import Envs, joined, parts_of
from rlbridge.learn.stepper import Stepper
from rlbridge.learn.stops import Stopped
from rlbridge.learn.transition import Step


class Episode(NamedTuple):
    """A finished episode: after how many transitions of the run it ended, its return (raw rewards), its length."""

    step: int
    total: float
    length: int


class StepCollector:
    """Steps environments by messages of one step, and fills rollouts.

    Environments in several parts step by turns: while one part does, the policy acts for the next. The order of all
    that is fixed, so timing has no say in any number.

    Args:
        envs: the environments, in SAME_STEP or NEXT_STEP autoreset mode.
        policy: encodes observations and turns raw actions into the environment's.
        seeds: where the seeds of resets come from.
        timeout: seconds that a step in processes may take.

    Attributes:
        groups: one for each part of ``envs``; who steps without :meth:`collect` sends to each, then receives.
        transitions: real transitions handed out so far, all environments together.
        dropped: rows so far that came with ``infos["bridge_valid"]`` false.
        gates: what plants' gates said since it was last taken.
        episodes: those that finished since :meth:`take_episodes`.
        observation: the encoded observations ``[N, *shape]`` to act on next; None before a reset. Setting it to None
            ends the episodes there are: the next collection begins new ones, seeded by the transitions so far.
        filled: steps of a rollout that :class:`Stopped` broke off; the next collection goes on there.
    """

    def __init__(self, envs: Envs, policy: Policy, seeds: Seeds, timeout: float = 60.0) -> None:
        self.envs, self.policy, self.seeds = envs, policy, seeds
        self.groups: list[Stepper] = []
        for part in parts_of(envs):
            first = self.groups[-1].rows.stop if self.groups else 0
            self.groups.append(Stepper(part, policy.encoder, timeout, first))
        self.transitions = 0
        self.dropped = 0
        self.gates = GateCounts(envs.num_envs)
        self.episodes: list[Episode] = []
        self.observation: NDArray[Any] | None = None
        self.filled = 0
        self._rollout: Rollout | None = None  # the one that is filled so far
        self._broken_off: dict[str, Any] | None = None  # its rows, if they come from a checkpoint
        self._drawn = policy.generator.get_state()  # before that rollout's noise

    def reset(self) -> NDArray[Any]:
        """Begin every environment anew, seeded; returns the encoded first observations ``[N, *shape]``."""
        seed = self.seeds.of_reset(self.transitions)
        self.observation = joined([group.reset(seed, self.transitions) for group in self.groups])
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
        policy = self.policy
        self._begin(rollout)
        noise = policy.distribution.noise(rollout.steps, rollout.num_envs, generator=policy.generator).numpy()
        for t in range(self.filled, rollout.steps):
            try:
                check()
            except Stopped:
                self._take_in(rollout, t)
                raise
            if self.observation is None:
                self._begin_anew(rollout, t)
            for group in self.groups:
                rows, observed = group.rows, group.under_way
                if observed:
                    rollout.observation_np[t, rows] = group.observe(self.transitions)
                raw = policy.draw(rollout.observation_np[t, rows], noise[t, rows])
                rollout.action_np[t, rows] = raw
                group.send(policy.actions.to_environment(raw))
                if observed:  # while they step
                    self._store(rollout, t - 1, rows, self._settle(group))
        self._take_in(rollout, rollout.steps)

    def _store(self, rollout: Rollout, t: int, rows: slice, step: Step) -> None:
        rollout.reward[t, rows] = step.reward
        rollout.terminated[t, rows] = step.terminated
        rollout.truncated[t, rows] = step.truncated
        rollout.valid[t, rows] = step.valid
        for i, final in step.final.items():
            rollout.final[t, i] = final

    def _take_in(self, rollout: Rollout, steps: int) -> None:
        """Receive what is still under way: ``steps`` steps are then whole."""
        if self.observation is None:  # episodes that were given up, not this rollout's
            return
        waiting = [group for group in self.groups if group.under_way]
        for group in waiting:
            step = self._receive(group)
            rollout.observation_np[steps, group.rows] = step.observation
            self._store(rollout, steps - 1, group.rows, step)
        if waiting:
            self.filled, self.observation = steps, rollout.observation_np[steps].copy()

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
        for group in self.groups:
            group.send(actions[group.rows])
        return self.receive()

    def receive(self) -> Step:
        """What the step that was sent to every group led to.

        Raises:
            NotFinite: a reward or an observation is NaN or infinite; says where.
        """
        step = Step.join([self._receive(group) for group in self.groups])
        self.observation = step.observation
        return step

    def _receive(self, group: Stepper) -> Step:
        group.observe(self.transitions)
        return self._settle(group)

    def _settle(self, group: Stepper) -> Step:
        step, self.transitions, dropped, finished, infos = group.settle(self.transitions)
        self.dropped += dropped
        self.gates.add(infos, step.valid, group.rows)
        self.episodes += [Episode(self.transitions, total, length) for total, length in finished]
        return step

    def take_episodes(self) -> list[Episode]:
        """The episodes that finished since the last call."""
        episodes, self.episodes = self.episodes, []
        return episodes

    def state_dict(self) -> dict[str, Any]:
        """Counters, episodes not yet taken, the part of a rollout there is; and where the environments can be
        restored, their states."""
        under_way = None
        environments = None if self.observation is None else env_state.capture(self.envs)
        if self.observation is not None and environments is not None:
            under_way = {
                "environments": environments,
                "observation": self.observation.copy(),
                **{name: np.concatenate([getattr(group, name) for group in self.groups]) for name in _OF_EPISODES},
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
            for group in self.groups:
                for name in _OF_EPISODES:
                    getattr(group, name)[:] = under_way[name][group.rows]
        else:
            self.observation = None


_OF_EPISODES = ("resetting", "returns", "lengths")
