"""The factory line: the simulator against published answers, the environment against its own books.

Every length is chosen so that 1 % is at least two standard errors; every seed is fixed.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbridge.entry_point import resolve_factory

FOLDER = Path(__file__).parents[2] / "env_servers" / "factory_line"
ProductionLine = resolve_factory("production_line.py:ProductionLine", folder=FOLDER)
Station = resolve_factory("production_line.py:Station", folder=FOLDER)
FactoryLineEnv = resolve_factory("env.py:FactoryLineEnv", folder=FOLDER)
sweep = resolve_factory("baseline.py:sweep", folder=FOLDER)
half_width = resolve_factory("baseline.py:half_width", folder=FOLDER)

WITHIN = 0.01


def throughput(stations, hours, **rule):
    """Jobs finished per hour, the first 2 % of the time left out."""
    line = ProductionLine(stations, seed=1, **rule)
    line.run(hours * 0.02)
    before = line.finished
    line.run(hours)
    return (line.finished - before) / (hours * 0.98)


@pytest.mark.parametrize(("stations", "published"), [(2, 2 / 3), (3, 0.5641), (4, 0.5148)])
def test_saturated_exponential_stations_without_buffers(stations, published):
    """Hunt 1956, table 1: service rate 1, blocking after service."""
    assert throughput([Station(1.0, buffer=0)] * stations, 120_000) == pytest.approx(published, rel=WITHIN)


@pytest.mark.parametrize("buffer", [1, 4, 10])
def test_two_exponential_stations_with_a_buffer(buffer):
    """A birth-death chain with buffer + 3 equally likely states, of which one starves the second station."""
    simulated = throughput([Station(1.0, buffer=buffer)] * 2, 150_000)
    assert simulated == pytest.approx((buffer + 2) / (buffer + 3), rel=WITHIN)


class TestTwoUnreliableMachines:
    """Buzacott 1967: both work 1 h a job and fail only while they work; p per h of work, r per h of repair."""

    p1, r1, p2, r2 = 0.02, 0.1, 0.02, 0.2

    def simulated(self, buffer, hours=300_000):
        first = Station(1.0, 0.0, buffer, 1 / self.p1, 1 / self.r1)
        second = Station(1.0, 0.0, buffer, 1 / self.p2, 1 / self.r2)
        return throughput([first, second], hours)

    @property
    def without_buffer(self):
        return 1 / (1 + self.p1 / self.r1 + self.p2 / self.r2)

    @property
    def with_endless_buffer(self):
        return min(self.r1 / (self.r1 + self.p1), self.r2 / (self.r2 + self.p2))

    def test_without_a_buffer(self):
        assert self.simulated(0) == pytest.approx(self.without_buffer, rel=WITHIN)

    def test_with_a_large_buffer(self):
        assert self.simulated(2000) == pytest.approx(self.with_endless_buffer, rel=WITHIN)

    def test_in_between_a_larger_buffer_helps(self):
        small, medium, large = (self.simulated(buffer, 60_000) for buffer in (2, 10, 40))
        assert self.without_buffer < small < medium < large < self.with_endless_buffer


def test_mm1():
    """L = ρ / (1 - ρ), here at ρ = 0.3."""
    line = ProductionLine([Station(1.0)], seed=1, arrival_rate=0.3)
    line.run(800_000)
    assert line.wip.integral() / line.env.now == pytest.approx(0.3 / 0.7, rel=WITHIN)


def test_a_lone_repairer_is_the_machine_repair_model():
    """Two machines that never wait for work share one repairer (Palm 1947): failure rate 1/h, repair rate 2/h.

    With k of the two machines down the weights of the states are 1, 2 λ/μ and 2 (λ/μ)². An endless buffer, full of
    jobs at the start, keeps the second machine from waiting for the first.
    """
    ratio = 0.5
    weights = np.array([1.0, 2 * ratio, 2 * ratio**2])
    up = (weights @ [2, 1, 0]) / weights.sum() / 2
    stations = [Station(0.1, 0.0, 0, 1.0, 0.5), Station(0.1, 0.0, math.inf, 1.0, 0.5)]
    line = ProductionLine(stations, seed=1, repairers=1)
    line.machines[1].jobs.extend([0.0] * 30_000)
    line.wip.add(30_000)
    line.run(20_000)
    assert len(line.machines[1].jobs) > 0
    assert line.finished / line.env.now == pytest.approx(10 * up, rel=2 * WITHIN)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    buffers=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    cap=st.integers(1, 12),
    cv=st.sampled_from([0.0, 0.5, 1.0]),
    repairers=st.integers(1, 2),
)
def test_conservation_and_littles_law_on_any_trajectory(seed, buffers, cap, cv, repairers):
    line = ProductionLine([Station(0.2, cv, b, 3.0, 1.0) for b in buffers], seed, cap=cap, repairers=repairers)
    line.run(40.0)
    inside = [released_at for machine in line.machines for released_at in machine.jobs]
    assert line.released == line.finished + line.wip.value
    assert line.wip.value == len(inside) <= cap
    assert all(len(machine.jobs) <= machine.station.buffer + 1 for machine in line.machines)
    # L T = sum of the times in the line: exact once the jobs still inside are counted up to now.
    hours = line.hours_in_line + sum(line.env.now - released_at for released_at in inside)
    assert line.wip.integral() == pytest.approx(hours)


def test_more_cards_give_more_work_in_the_line_and_more_throughput():
    stations = [Station(1.0, buffer=10)] * 3
    few, many = (throughput(stations, 20_000, cap=cap) for cap in (2, 8))
    assert few < many


def test_an_unlimited_release_is_refused():
    with pytest.raises(ValueError, match="without end"):
        ProductionLine([Station(1.0)], seed=0)


def test_the_called_machine_is_repaired_first():
    line = ProductionLine([Station(1.0, 0.0, 5, 1.5, 50.0)] * 2, seed=3, repairers=1)
    while len(line.broken) == 0:  # one in repair, the other waiting
        line.run(line.env.now + 1.0)
    waiting = line.machines.index(line.broken[0])
    line.call_repairer(waiting)
    line.run(line.env.now + 0.01)
    assert line.machines[waiting].state.name == "IN_REPAIR"
    assert line.machines[1 - waiting].state.name == "BROKEN"


def play(env, seed, actions):
    observation, _ = env.reset(seed=seed)
    return [observation] + [step[0] for step in map(env.step, actions)]


@pytest.mark.filterwarnings("ignore:.*alternative render modes")
@pytest.mark.parametrize("render_mode", ["rgb_array", "ansi"])
def test_gymnasium_accepts_it(render_mode):
    check_env(FactoryLineEnv(render_mode=render_mode))


def test_the_seed_decides_everything():
    env, twin = FactoryLineEnv(), FactoryLineEnv()
    actions = np.random.default_rng(0).integers(env.action_space.n, size=env.horizon)
    first, again, other = play(env, 0, actions), play(twin, 0, actions), play(env, 1, actions)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_orders_do_not_depend_on_the_rule():
    """Common random numbers: what is compared between rules is the rules."""
    served = []
    for action in (0, 23):
        env = FactoryLineEnv()
        play(env, 5, [np.int64(action)] * env.horizon)
        served.append(env.line.sold + env.line.backlog.value)
    assert served[0] == served[1]


def test_an_episode_is_truncated_after_its_days():
    env = FactoryLineEnv(days=2)
    env.reset(seed=0)
    ends = [env.step(np.int64(9))[2:4] for _ in range(48)]
    assert ends == [(False, False)] * 47 + [(False, True)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), actions=st.lists(st.integers(0, 23), min_size=1, max_size=72))
def test_the_books_balance(seed, actions):
    env = FactoryLineEnv()
    env.reset(seed=seed)
    total, infos = 0.0, []
    for action in actions:
        observation, reward, _, _, info = env.step(np.int64(action))
        assert env.observation_space.contains(observation)
        assert reward == pytest.approx(info["margin"] - info["holding"] - info["lateness"])
        total += reward
        infos.append(info)
    line = env.line
    assert line.released == line.wip.value + line.finished
    assert line.finished == line.stock.value + line.sold
    assert sum(info["throughput"] for info in infos) == line.finished
    job_hours = line.wip.integral() + line.stock.integral()
    assert total == pytest.approx(0.4 * line.sold - 0.02 * job_hours - 0.1 * line.backlog.integral())


def test_a_foreign_action_is_refused_by_name():
    env = FactoryLineEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="24"):
        env.step(np.int64(24))


def test_render():
    env = FactoryLineEnv(render_mode="rgb_array")
    play(env, 0, [np.int64(23)] * 30)
    image = env.render()
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    env.render_mode = "ansi"
    assert "stock" in env.render()


def test_the_best_fixed_level_is_an_interior_one():
    """Neither starving nor flooding the line is best, and the difference is far outside the noise."""
    returns = {rule.cap: rule.returns for rule in sweep(episodes=4, seed=10_000) if rule.first == "paint"}
    best = max(returns, key=lambda cap: returns[cap].mean())
    assert min(returns) < best < max(returns)
    assert (returns[best] > returns[max(returns)] + 20).all()
    assert returns[best].mean() > returns[min(returns)].mean() + 20


def test_students_interval():
    """The tabulated 97.5 % quantile for 4 degrees of freedom is 2.776."""
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert half_width(values) == pytest.approx(2.776 * math.sqrt(2.5 / 5), rel=0.005)
