"""A guarded plant as a Gymnasium environment: one, or a batch of simulated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlbridge.gymnasium_versions import AutoresetMode, VectorEnv
from rlbridge.plants.clock import Period, runner
from rlbridge.plants.gate import Numbers
from rlbridge.plants.guard import Guard, Seen
from rlbridge.plants.journal import why_of
from rlbridge.plants.plant import BatchPlant, Plant, Signal, SimulatedPlant
from rlbridge.plants.real_time import RealTime
from rlbridge.plants.rules import BadPlant
from rlbridge.plants.settings import Clock, Gate, Task
from rlbridge.plants.task import TaskRules, Transition

Observation = NDArray[np.float32]


class BadAction(ValueError):
    """The action has another shape than the action space, or is not finite. Nothing was applied."""


class Controlled:
    """A plant with its gate, clock and task: what one environment and a batch have in common.

    Observations and actions are in the signals' units and order, float32, as policies compute; the gate, the plant and
    the audit have float64.
    """

    def __init__(
        self,
        plant: Plant,
        gate: Gate | None,
        task: Task | None,
        clock: Clock | None,
        folder: Path | None,
        signals: Sequence[Signal] | None,
        logs: Path | None,
    ) -> None:
        self.clock, self.folder = clock or Clock(), folder or Path.cwd()  # type: ignore[call-arg]
        if self.clock.real_time and isinstance(plant, SimulatedPlant):
            if isinstance(plant, BatchPlant):
                raise BadPlant("clock.real_time is for one plant; a batch can only be simulated in lockstep")
            plant = RealTime(plant)
        self.guard = Guard(plant, gate or Gate(), logs or self.folder, signals)  # type: ignore[call-arg]
        self.live = not isinstance(plant, SimulatedPlant)  # on the wall clock, whoever asks for what
        self.n = self.guard.n
        names = [signal.name for signal in self.guard.signals if signal.role != "heartbeat"]
        self.task = TaskRules(task or Task(), names, self.folder)  # type: ignore[call-arg]
        self.runner = runner(self.guard, self.clock)
        signals = self.guard.signals
        actions = [signal for signal in signals if signal.role == "action"]
        observed = [signal for signal in signals if signal.role == "observation"]
        self.action_space = _box(actions, inside=True)
        self.observation_space = _box(observed + (actions if self.task.observe_applied else []), inside=False)
        self._nothing = np.zeros(self.n)
        self._range = self.guard.rules.high - self.guard.rules.low

    def start(self, seeds: list[int | None], options: Mapping[str, Any], rows: NDArray[np.bool_]) -> Seen:
        """Begin episodes in these rows."""
        return self.runner.start(seeds, options, rows)

    def checked(self, action: Any) -> Numbers:
        """[N, A] of float64.

        Raises:
            BadAction: it is something else, or not finite.
        """
        try:
            requested = np.asarray(action, np.float64)
        except (TypeError, ValueError, OverflowError):
            requested = np.empty(0)
        if requested.shape != (self.n, len(self._range)):
            what = f"the action {str(action)[:80]} is not {len(self._range)} number(s)"
            self.guard.refused(what)
            raise BadAction(f"{what} for {', '.join(self.guard.rules.names)}; nothing was applied")
        if not np.isfinite(requested).all():
            row, j = np.argwhere(~np.isfinite(requested))[0]
            what = f"the action for {self.guard.rules.names[j]!r}, row {row}, is {requested[row, j]}"
            self.guard.refused(what)
            raise BadAction(f"{what}, not a number to apply; nothing was applied")
        return requested

    def observation(self, seen: Seen) -> Observation:
        """[N, S] of float32."""
        if self.task.observe_applied:
            points = np.column_stack([seen.values[name] for name in self.guard.rules.names])
            return np.concatenate([seen.observed, points], axis=1).astype(np.float32)
        return seen.observed.astype(np.float32)

    def judged(self, period: Period, single: bool) -> tuple[Numbers, NDArray[np.bool_]]:
        """The reward and termination of a period, [N] each.

        Raises:
            BadPlant: the task's function gave something of another shape, or a reward that is not finite.
        """
        names = self.guard.rules.names

        def columns(rows: Numbers) -> dict[str, Any]:
            return {name: float(rows[0, j]) if single else rows[:, j] for j, name in enumerate(names)}

        def values(seen: Seen) -> dict[str, Any]:
            return {name: float(value[0]) for name, value in seen.values.items()} if single else seen.values

        transition = Transition(
            values(period.before),
            values(period.after),
            columns(period.applied.requested),
            columns(period.applied.applied),
            period.after.time,
            self.clock.period,
        )
        reward = self._nothing + self.task.reward(transition)
        self._check_shape("reward", reward)
        if not np.isfinite(reward).all():
            raise BadPlant(f"the task's reward is {reward[~np.isfinite(reward)][0]} for {transition}")
        if self.guard.gate.penalty:
            correction = np.abs(period.applied.requested - period.applied.decided) / self._range
            reward = reward - self.guard.gate.penalty * correction.mean(axis=1)
        over = False if self.task.terminated is None else self.task.terminated(transition)
        terminated = np.logical_or(self._nothing, over)
        self._check_shape("termination", terminated)
        return reward, terminated

    def _check_shape(self, what: str, rows: NDArray[Any]) -> None:
        if rows.shape != (self.n,):
            raise BadPlant(f"the task's {what} has the shape {rows.shape}; a number or [{self.n}] is needed")


class PlantEnv(gymnasium.Env[Any, Any]):
    """One plant behind its gate, as an ordinary environment; needs no network.

    Observation: ``Box`` of float32 in the signals' units: the observations in the plant's order, then, with
    ``task.observe_applied``, the applied action. Action: ``Box`` of float32 in units. What is outside its bounds is
    limited, not refused.

    ``info`` has ``applied`` [A] and ``decided`` [A] (float64; they differ where the mode forbids writing), ``reasons``
    [A] (int64, bits of :class:`~rlbridge.plants.gate.Reason`), ``corrected`` (whether ``decided`` is not what was asked
    for) and, only where there is something to say, ``why`` (the
    reasons in words, by action) and ``bad`` (the signals whose last good value is shown). On the wall clock also
    ``jitter``, ``observation_age`` [s] and ``deadline_misses``.

    Args:
        plant: a :class:`~rlbridge.plants.Plant`; one that has ``advance`` is simulated, and stepped in lockstep.
        gate, task, clock: the settings; by default everything is allowed that the signals allow.
        folder: where ``task.py`` is looked for; default: the working directory.
        signals: instead of the plant's own, with narrower limits.
        logs: where the audit and the operator's file are; default: ``folder``.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        plant: Plant,
        *,
        gate: Gate | None = None,
        task: Task | None = None,
        clock: Clock | None = None,
        folder: Path | None = None,
        signals: Sequence[Signal] | None = None,
        logs: Path | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.controlled = Controlled(plant, gate, task, clock, folder, signals, logs)
        if self.controlled.n != 1:
            raise BadPlant(f"PlantEnv takes one plant, not a batch of {self.controlled.n}: use PlantVectorEnv")
        self.plant, self.render_mode = plant, render_mode
        self.metadata = {"render_modes": [], **getattr(plant, "metadata", {}), "live": self.controlled.live}
        self.observation_space, self.action_space = self.controlled.observation_space, self.controlled.action_space
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the plant, or take it over as it runs.

        Raises:
            PlantRefused: it does not start now. PlantHeld: another session has it.
        """
        super().reset(seed=seed)
        seen = self.controlled.start([seed], options or {}, np.ones(1, np.bool_))
        self._steps = 0
        return self.controlled.observation(seen)[0], {"applied": self.controlled.guard.state.applied[0]}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Ask for an action, let one period pass, look.

        Raises:
            BadAction: nothing was applied; the episode goes on. Anything else ends it.
        """
        controlled = self.controlled
        try:
            requested = controlled.checked(np.asarray(action)[None])
        except ValueError as error:
            raise error if isinstance(error, BadAction) else BadAction(str(error)) from error
        period = controlled.runner.step(requested)
        self._steps += 1
        reward, terminated = controlled.judged(period, not controlled.guard.batch)
        if terminated[0]:
            controlled.runner.rest()
        late = self._steps == controlled.task.horizon
        truncated = bool(period.over[0]) or late
        return (
            controlled.observation(period.after)[0],
            float(reward[0]),
            bool(terminated[0]),
            truncated,
            self._info(period),
        )

    def _info(self, period: Period) -> dict[str, Any]:
        applied, guard = period.applied, self.controlled.guard
        info: dict[str, Any] = {
            "applied": applied.applied[0],
            "decided": applied.decided[0],
            "reasons": applied.reasons[0],
            "corrected": bool((applied.decided != applied.requested).any()),
            **period.timing,
        }
        if applied.reasons.any():
            info["why"] = why_of(applied.reasons[0], guard.rules.names)
        if period.after.bad.any():
            info["bad"] = guard.names_of_bad(period.after, 0)
        return info

    def render(self) -> Any:
        """What the plant draws of itself, if it has ``render(mode)``."""
        draw = getattr(self.plant, "render", None)
        return None if draw is None or self.render_mode is None else draw(self.render_mode)

    def close(self) -> None:
        """Make the plant safe and let go of it. Idempotent."""
        self.controlled.runner.close()


class PlantVectorEnv(VectorEnv[Any, Any, Any]):
    """N simulated plants that are one object, behind one gate; see :class:`PlantEnv`.

    Infos have ``applied``, ``decided`` and ``reasons`` [N, A] and ``corrected`` [N]; where a row's reading is bad, also
    ``held`` [N].

    Args:
        plant: a :class:`~rlbridge.plants.BatchPlant`.
        autoreset_mode: one of Gymnasium's three.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        plant: BatchPlant,
        *,
        gate: Gate | None = None,
        task: Task | None = None,
        clock: Clock | None = None,
        folder: Path | None = None,
        signals: Sequence[Signal] | None = None,
        logs: Path | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        if not isinstance(plant, BatchPlant):
            raise BadPlant(f"{type(plant).__name__} is no batch: it needs num_envs, start_rows and advance")
        self.controlled = Controlled(plant, gate, task, clock, folder, signals, logs)
        self.num_envs = self.controlled.n
        self.single_observation_space = self.controlled.observation_space
        self.single_action_space = self.controlled.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self._steps = np.zeros(self.num_envs, np.int64)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start all rows, or those of ``options["reset_mask"]``; row i gets seed + i."""
        options = dict(options or {})
        rows = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, np.bool_)), np.bool_)
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        return self._begin(rows, seed, options), {"applied": self.controlled.guard.state.applied}

    def _begin(self, rows: NDArray[np.bool_], seeds: list[int | None], options: Mapping[str, Any]) -> Observation:
        seen = self.controlled.start(seeds, options, rows)
        self._steps[rows], self._ended[rows] = 0, False
        return self.controlled.observation(seen)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, Numbers, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One period of every row; a row that has ended is reset by the mode's rule.

        Raises:
            BadAction: nothing was applied. Anything else ends every row's episode.
        """
        controlled = self.controlled
        requested = controlled.checked(actions)
        fresh = self._ended.copy() if self.autoreset_mode is AutoresetMode.NEXT_STEP else None
        period = controlled.runner.step(requested)
        self._steps += 1
        reward, terminated = controlled.judged(period, single=False)
        truncated = period.over | (self._steps == controlled.task.horizon)
        observation = controlled.observation(period.after)
        infos = self._infos(period)
        none: list[int | None] = [None] * self.num_envs
        if fresh is not None and fresh.any():
            # The period of a row that had ended before it is nobody's: it is started anew, now.
            observation = self._begin(fresh, none, {})
            reward = np.where(fresh, 0.0, reward)
            terminated, truncated = terminated & ~fresh, truncated & ~fresh
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            infos = self._final(observation, infos, ended)
            observation = self._begin(ended, none, {})
        else:
            self._ended = ended
        return observation, reward, terminated, truncated, infos

    def _final(self, observation: Observation, infos: dict[str, Any], ended: NDArray[np.bool_]) -> dict[str, Any]:
        final = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final[row] = observation[row].copy()
        return {**infos, "final_obs": final, "_final_obs": ended.copy(), "final_info": infos, "_final_info": ended}

    def _infos(self, period: Period) -> dict[str, Any]:
        everybody = np.ones(self.num_envs, np.bool_)
        applied, bad = period.applied, period.after.bad.any(axis=1)
        infos: dict[str, Any] = {"applied": applied.applied, "decided": applied.decided, "reasons": applied.reasons}
        infos["corrected"] = (applied.decided != applied.requested).any(axis=1)
        infos |= {f"_{name}": everybody for name in list(infos)}
        return infos | ({"held": bad, "_held": bad} if bad.any() else {})

    def close_extras(self, **kwargs: Any) -> None:
        """Make the plants safe and let go of them."""
        self.controlled.runner.close()


def _box(signals: list[Signal], inside: bool) -> spaces.Box:
    """The signals' ranges in float32, rounded so that every number of the box is in them, or the other way round."""
    low, high = (np.array([getattr(signal, end) for signal in signals]) for end in ("low", "high"))
    return spaces.Box(_rounded(low, up=inside), _rounded(high, up=not inside), dtype=np.float32)


def _rounded(exact: Numbers, up: bool) -> Observation:
    near = exact.astype(np.float32)
    wrong = near < exact if up else near > exact
    return np.where(wrong, np.nextafter(near, np.float32(np.inf if up else -np.inf)), near)
