"""A peer that says nothing, on a connection that looks well, is noticed within the deadline."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

import rlbridge
from rlbridge import errors
from tests.chaos.conftest import books
from tests.chaos.proxy import Proxy

TIMEOUT, TOTAL = 0.5, 2.0
SLACK = 5.0  # for a slow machine; what must not happen is that it takes for ever


class HalfOpen:
    """A link on which all connections stay open and nothing gets through."""

    def __init__(self, serve_process, scheme: str, proxied) -> None:
        _, (self.direct,) = serve_process("tests.envs:Ledger", "--bind", f"{scheme}://127.0.0.1:0")
        self._proxy: Proxy = proxied(self.direct)
        self.url = self._proxy.url
        self.fall_silent, self.speak = self._proxy.swallow, self._proxy.heal


class Stopped:
    """A server process that SIGSTOP holds: its kernel still takes connections and bytes."""

    def __init__(self, serve_process, scheme: str, proxied) -> None:
        self._process, (self.url,) = serve_process("tests.envs:Ledger", "--bind", f"{scheme}://127.0.0.1:0")
        self.direct = self.url

    def fall_silent(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # until every one of its threads stands still

    def speak(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(params=[HalfOpen, Stopped], ids=["half-open", "stopped"])
def peer(request, serve_process, scheme, proxied):
    peer = request.param(serve_process, scheme, proxied)
    yield peer
    peer.speak()  # a stopped process could not be ended


@contextmanager
def within(seconds: float):
    started = time.monotonic()
    yield
    taken = time.monotonic() - started
    assert taken < seconds + SLACK, f"took {taken:.1f} s where {seconds:g} s are allowed"


def test_a_step_gives_up_within_its_time_and_can_be_taken_up_again(peer):
    env = rlbridge.make(peer.url, timeout=TIMEOUT, retry_for=TOTAL)
    env.reset(seed=0)
    env.step(1)
    peer.fall_silent()
    with within(TOTAL + TIMEOUT), pytest.raises(errors.DeadlineExceeded, match=r"did not answer within 0\.5 s"):
        env.step(2)
    peer.speak()
    assert env.step(2)[-1]["total"] == 2  # the same step, once
    assert env.step(0)[-1]["total"] == 3
    env.close()
    assert books(peer.direct)["stepped"] == 3


def test_a_silence_shorter_than_the_patience_is_only_a_pause(peer):
    envs = rlbridge.make_vec(peer.url, 4, timeout=TIMEOUT, autoreset_mode="SameStep")
    envs.reset(seed=0)
    for i in range(1, 4):
        peer.fall_silent()
        speak_after(2, envs, peer.speak)
        assert envs.step(np.zeros(4, np.int64))[-1]["total"].tolist() == [i] * 4
    envs.close()
    assert envs.times_lost == 0
    assert books(peer.direct)["stepped"] == 12


def speak_after(attempts: int, envs, speak) -> None:
    """Let the peer speak once so many attempts to reach it have been given up."""
    link = envs._session._link
    drop, left = link.drop, attempts

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            speak()
            link.drop = drop
        drop()

    link.drop = counted


def test_opening_gives_up_within_its_time(peer):
    peer.fall_silent()
    with within(TIMEOUT), pytest.raises(errors.DeadlineExceeded):
        rlbridge.make(peer.url, timeout=TIMEOUT, retry_for=TOTAL)


def test_closing_gives_up_within_its_time(peer):
    env = rlbridge.make(peer.url, timeout=TIMEOUT, retry_for=TOTAL)
    env.reset(seed=0)
    peer.fall_silent()
    with within(TIMEOUT):
        env.close()
