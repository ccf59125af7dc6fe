"""Looking before sleeping: where it is likely to help, and nowhere else."""

import os
import socket

import pytest

from rlbridge.wire import busy_wait
from rlbridge.wire.busy_wait import LONGEST, SECONDS, BusyWait, readable


class Clock:
    """Stands still until told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(busy_wait.time, "perf_counter", clock)
    return clock


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(busy_wait, "_processors", lambda: 2)
    monkeypatch.delenv(busy_wait.VARIABLE, raising=False)
    busy_wait.may_look.cache_clear()
    yield
    busy_wait.may_look.cache_clear()


def after(seconds, clock, **how):
    """A thread's waiting, after a wait that took so long."""
    busy = BusyWait(**how)
    assert busy.look(lambda seconds: "too early") is None, "nothing is known yet of how long it takes"
    clock.now += seconds
    busy.came()
    return busy


def looks(busy, clock, step):
    """For how long it sleeps first, and how often it looks then for something that never comes, ``step`` seconds
    each."""
    slept, count = 0.0, 0

    def ready(seconds):
        nonlocal slept, count
        clock.now += seconds or step
        slept += seconds
        count += not seconds

    assert busy.look(ready) is None
    return slept, count


def test_after_a_short_wait_it_looks_until_the_message_is_there(clock):
    busy = after(SECONDS / 2, clock)
    answers = iter([None, None, "message"])
    assert busy.look(lambda seconds: next(answers) if seconds == 0.0 else pytest.fail("slept")) == "message"


def test_before_a_longer_one_is_expected_to_be_over_it_sleeps_until_shortly_before(clock):
    slept, count = looks(after(5 * SECONDS, clock), clock, SECONDS / 10)
    assert slept == pytest.approx(4 * SECONDS)
    assert count in (20, 21), "one SECONDS before, one after"


def test_what_comes_while_it_sleeps_so_is_found(clock):
    busy = after(5 * SECONDS, clock)
    assert busy.look(lambda seconds: "message" if seconds else pytest.fail("too late")) == "message"


def test_after_a_long_wait_it_does_not_look_at_all(clock):
    assert looks(after(LONGEST * 1.1, clock), clock, SECONDS / 100) == (0.0, 0)


def test_looking_ends_and_a_wait_that_outlasts_all_is_a_long_one(clock):
    busy = after(SECONDS / 2, clock)
    assert looks(busy, clock, SECONDS / 100)[1] in (150, 151)
    clock.now += LONGEST
    busy.came()
    assert looks(busy, clock, SECONDS / 100) == (0.0, 0)


def test_one_that_is_interrupted_sleeps_and_looks_again_the_next_time(clock):
    busy = after(SECONDS / 2, clock)
    assert looks(busy, clock, busy_wait._INTERRUPTED * 2) == (0.0, 1), "something else ran between two looks"
    busy.came()
    assert looks(busy, clock, SECONDS / 100)[1] > 1


def test_it_sleeps_where_looking_is_not_welcome(clock):
    welcome = [False]
    busy = after(SECONDS / 2, clock, welcome=lambda: welcome[0])
    assert looks(busy, clock, SECONDS / 100) == (0.0, 0)
    welcome[0] = True
    busy.came()
    assert looks(busy, clock, SECONDS / 100)[1] > 1


@pytest.mark.parametrize("wish", ["0", "no", ""])
def test_it_sleeps_where_it_is_asked_to(clock, monkeypatch, wish):
    monkeypatch.setenv(busy_wait.VARIABLE, wish)
    assert looks(after(SECONDS / 2, clock), clock, SECONDS / 100) == (0.0, 0)


def test_it_sleeps_where_there_is_not_a_second_processor(clock, monkeypatch):
    monkeypatch.setattr(busy_wait, "_processors", lambda: 1.5)
    assert looks(after(SECONDS / 2, clock), clock, SECONDS / 100) == (0.0, 0)


def test_a_containers_share_counts(tmp_path, monkeypatch):
    monkeypatch.undo()  # the fixture's two processors
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert busy_wait._processors(quota) == 0.5
    quota.write_text("max 100000\n")
    there = busy_wait._processors(quota)
    assert there == busy_wait._processors(tmp_path / "missing") >= 1
    if hasattr(os, "sched_getaffinity"):
        assert there == len(os.sched_getaffinity(0))


def test_what_may_be_read_is_seen():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        look = readable([ours.fileno()])
        assert not look(0.0)
        theirs.send(b"x")
        assert look(0.0)
        assert look(10.0)
        assert ours.recv(10) == b"x", "looking takes nothing away"
        assert not look(0.001)
