"""Small environments with known behaviour, for the tests; served by ``tests.envs:Name``."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Counter(gymnasium.Env):
    """Counts its own steps. Observation [episode, step]; the episode ends (terminated) after ``length`` steps.

    ``info`` has numbers, text, an array and a nested dictionary, some of them only in some steps.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 7}

    def __init__(self, length: int = 5, truncate: bool = False, render_mode: str | None = None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.length, self.truncate, self.render_mode = length, truncate, render_mode
        self.episode = -1
        self.steps = self.total_steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.steps = 0
        info = {"seed": -1 if seed is None else seed, "options": str(options)}
        return np.array([self.episode, 0.0]), info

    def step(self, action):
        self.steps += 1
        self.total_steps += 1
        over = self.steps >= self.length
        info: dict[str, Any] = {"total": self.total_steps, "action": int(action)}
        if self.steps % 2:
            info["odd"] = {"label": f"step {self.steps}", "vector": np.full(2, self.steps, np.float32)}
        observation = np.array([self.episode, self.steps], np.float64)
        return observation, float(action), over and not self.truncate, over and self.truncate, info

    def render(self):
        if self.render_mode == "ansi":
            return f"episode {self.episode} step {self.steps}"
        return np.full((4, 6, 3), self.steps, np.uint8)


class SharedArray(Counter):
    """Returns the same array every time and changes it in place: a copy made too late shows the next values."""

    def __init__(self):
        super().__init__(length=3)
        self._array = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        self._array[:], info = super().reset(seed=seed, options=options)
        return self._array, info

    def step(self, action):
        self._array[:], *rest = super().step(action)
        return self._array, *rest


class Fragile(Counter):
    """Raises in step when the action is 2, and in reset when options hold ``fail``."""

    made = 0

    def __init__(self, length: int = 5):
        super().__init__(length)
        Fragile.made += 1

    def reset(self, *, seed=None, options=None):
        if options and options.get("fail"):
            raise RuntimeError("asked to fail in reset")
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if action == 2:
            raise ValueError("boom at action 2")
        return super().step(action)


class Mortal(Counter):
    """Raises in the twentieth step of its life."""

    def step(self, action):
        if self.total_steps == 19:
            raise RuntimeError("worn out")
        return super().step(action)


class Wide(gymnasium.Env):
    """An observation of ``size`` bytes."""

    def __init__(self, size: int = 10_000_000):
        self.observation_space = spaces.Box(0, 255, (size,), np.uint8)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape, np.uint8), {}

    def step(self, action):
        return np.ones(self.observation_space.shape, np.uint8), 0.0, False, False, {}


class Chatty(Counter):
    """Its info is as large as the action asks for."""

    def step(self, action):
        *step, _ = super().step(action)
        return *step, {"text": "x" * (int(action) * 1_000_000)}


class BadObservation(Counter):
    """Returns what its observation space does not allow, from the second step on."""

    def step(self, action):
        observation, *rest = super().step(action)
        return (np.zeros(3) if self.steps > 1 else observation), *rest


class Continuous(gymnasium.Env):
    """A Box action with bounds; the observation is the action that arrived."""

    def __init__(self):
        bound = np.array([1, 2], np.float32)
        self.action_space = spaces.Box(-bound, bound)
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        action += 0  # environments may change their action in place
        return action, 0.0, False, False, {}


class AnySpace(gymnasium.Env):
    """Nested spaces of every kind for both observation and action; the observation repeats the action."""

    def __init__(self):
        inner = {
            "box": spaces.Box(-1, 1, (2, 3), np.float32),
            "flags": spaces.MultiBinary(3),
            "choice": spaces.MultiDiscrete([2, 3], start=[1, -1]),
            "pair": spaces.Tuple([spaces.Discrete(4, start=-2), spaces.Text(5)]),
            "many": spaces.Sequence(spaces.Box(0, 1, (2,))),
            "graph": spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
            "either": spaces.OneOf([spaces.Discrete(2), spaces.Box(0, 1, (1,))]),
        }
        self.observation_space = spaces.Dict(inner)
        self.action_space = spaces.Dict(inner)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return action, 1.0, False, False, {}


class Gate(Counter):
    """Stands still in step until it is let go: for tests of what happens meanwhile."""

    entered = threading.Event()
    let_go = threading.Event()

    def step(self, action):
        Gate.entered.set()
        assert Gate.let_go.wait(30)
        return super().step(action)


def not_an_environment():
    return "a string"


def not_a_batch(num_envs):
    return Counter()


def cannot_be_made():
    raise OSError("the licence server is down")


class Ledger(gymnasium.Env):
    """Keeps the books of its process: every environment made, every one closed, every step of any of them.

    ``reset(options={"books": True})`` gives them in ``info``, with the process's threads, descriptors and memory.
    Observations, rewards and ends are drawn from the seed, so that a trajectory shows every step lost or doubled.
    """

    made = closed = stepped = 0
    _books = threading.Lock()
    _objects: weakref.WeakSet[Ledger] = weakref.WeakSet()

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.total = 0
        self._open = True
        with Ledger._books:
            Ledger.made += 1
            Ledger._objects.add(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        info = {"total": self.total}
        if options and options.get("books"):
            info.update(self._read_books())
        return self.np_random.standard_normal(4, np.float32), info

    def step(self, action):
        self.total += 1
        with Ledger._books:
            Ledger.stepped += 1
        observation = self.np_random.standard_normal(4, np.float32)
        over = self.np_random.random() < 0.02
        return observation, float(observation[0]) + int(action), over, False, {"total": self.total}

    def close(self):
        with Ledger._books:
            Ledger.closed += self._open
            self._open = False

    def _read_books(self) -> dict[str, int]:
        gc.collect()
        with Ledger._books:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return {
                "open": Ledger.made - Ledger.closed,
                "objects": len(Ledger._objects),
                "stepped": Ledger.stepped,
                "threads": len(os.listdir("/proc/self/task")),
                "descriptors": len(os.listdir("/proc/self/fd")),
                "resident": pages * os.sysconf("SC_PAGE_SIZE"),
            }


class Exits(Counter):
    """Calls sys.exit in step at action 2, and in close."""

    def step(self, action):
        step = super().step(action)
        if action == 2:
            raise SystemExit("the licence ran out")
        return step

    def close(self):
        raise SystemExit("bye")


class HangsOnClose(Counter):
    """Its close does not come back until it is let go (the probe's does)."""

    let_go = threading.Event()

    def close(self):
        if self.episode >= 0:
            HangsOnClose.let_go.wait(60)


class BadInfo(Counter):
    """At action 2 its info is no dictionary."""

    def step(self, action):
        *step, info = super().step(action)
        return *step, ("text" if action == 2 else info)


class OneThread(Counter):
    """Insists on the thread it was made in, as SQLite's connections do."""

    def __init__(self):
        super().__init__()
        self._thread = threading.get_ident()

    def _check(self):
        assert threading.get_ident() == self._thread, "used in another thread than it was made in"

    def reset(self, *, seed=None, options=None):
        self._check()
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self._check()
        return super().step(action)

    def close(self):
        self._check()
        OneThread.closed.set()

    closed = threading.Event()


class LongError(Counter):
    """Raises an exception with a message of 100,000 characters."""

    def step(self, action):
        raise RuntimeError("x" * 100_000)


class Forks(Counter):
    """Its reset forks a process that outlives a killed parent; its step does not come back."""

    def reset(self, *, seed=None, options=None):
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,), daemon=True)
        worker.start()
        observation, info = super().reset(seed=seed, options=options)
        return observation, {**info, "worker": worker.pid}

    def step(self, action):
        threading.Event().wait(600)
        return super().step(action)


class Forever(Counter):
    """Its step does not come back."""

    def step(self, action):
        threading.Event().wait(600)
        return super().step(action)
