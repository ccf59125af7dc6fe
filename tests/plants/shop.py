"""A SimPy model for the tests: parts arrive every ``interval``, one machine takes ``service`` for each."""

from __future__ import annotations

import random

import simpy


class Shop:
    def __init__(self, env: simpy.Environment, seed: int | None, service: float = 1.0) -> None:
        self.env, self.random, self.service = env, random.Random(seed), service
        self.rate, self.done, self.stuck = 0.5, 0, 0.0
        self.queue = simpy.Store(env)
        env.process(self.arrivals())
        env.process(self.machine())

    def waiting(self) -> int:
        return len(self.queue.items)

    def draw(self) -> float:
        return self.random.random()

    def arrivals(self):
        while True:
            yield self.env.timeout(0 if self.stuck else 1 / self.rate)
            self.queue.put(self.env.now)

    def machine(self):
        while True:
            yield self.queue.get()
            yield self.env.timeout(self.service)
            self.done += 1
