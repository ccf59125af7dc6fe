"""Trading: the data are what they are said to be, nothing of tomorrow is seen today, and the books balance."""

from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rlbridge.entry_point import resolve_factory

FOLDER = Path(__file__).parents[2] / "env_servers" / "trading"
load = resolve_factory("market.py:load", folder=FOLDER)
features_of = resolve_factory("market.py:features_of", folder=FOLDER)
TradingEnv = resolve_factory("trading_env.py:TradingEnv", folder=FOLDER)
COST = 0.0005


def position(part):
    return np.array([2.0 * part - 1.0], np.float32)


def test_the_data_are_the_published_ones():
    """The S&P 500 closed at 1228.10 on 4 January 1999 and at 2506.85 on 31 December 2018: public record."""
    market = load()
    assert (market.days[0], market.days[-1]) == (date(1999, 1, 4), date(2018, 12, 31))
    assert np.prod(1.0 + market.returns) == pytest.approx(2506.85 / 1228.10, rel=1e-5)
    assert market.returns.min() == pytest.approx(-0.0903, abs=1e-4)  # 15 October 2008


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rlbridge-toolkit\[trading\]'"):
        TradingEnv()


def test_features_know_nothing_of_the_future():
    returns = load().returns[:400].copy()
    before = features_of(returns)
    returns[300:] *= -3.0
    assert np.array_equal(before[:300], features_of(returns)[:300])


def test_gymnasium_accepts_it():
    check_env(TradingEnv(), skip_render_check=True)


def test_training_ends_where_the_test_begins():
    train, test = TradingEnv("train"), TradingEnv("test")
    assert train.market.days[train.end] == date(2013, 12, 31)
    assert test.market.days[test.first] == date(2013, 12, 31)  # the close at which it may trade first
    assert test.market.days[test.first + 1] == date(2014, 1, 2)
    test.reset(seed=0)
    steps = 0
    done = False
    while not done:
        _, _, terminated, done, _ = test.step(position(0.0))
        assert not terminated
        steps += 1
    assert steps == test.days == 1258  # trading days in 2014 to 2018
    assert test.today == len(test.market.days) - 1


def test_buy_and_hold_earns_the_index_less_one_trade():
    env = TradingEnv("test")
    env.reset(seed=0)
    total = sum(env.step(position(1.0))[1] for _ in range(env.days))
    index = np.prod(1.0 + env.market.returns[env.first + 1 :])
    assert total == pytest.approx(100.0 * np.log(index * (1.0 - COST)), abs=1e-4)


def test_cash_earns_and_costs_nothing():
    env = TradingEnv()
    env.reset(seed=0)
    assert all(env.step(position(0.0))[1] == 0.0 for _ in range(20))


def test_what_is_traded_is_paid_for():
    """In and out again every day costs 5 basis points each way, besides the market's moves."""
    env = TradingEnv()
    env.reset(seed=0)
    paid = 0.0
    for day in range(10):
        moved = env.market.returns[env.today + 1]
        part = float(day % 2 == 0)
        growth = env.step(position(part))[4]["growth"]
        paid += np.log(1.0 + part * moved) - growth
    assert paid == pytest.approx(-10 * np.log(1.0 - COST), rel=1e-6)


def test_the_market_moves_the_position():
    """Half in cash: after a day the part in the market is what grew, and only the difference is traded back."""
    env = TradingEnv()
    env.reset(seed=1)
    env.step(position(0.5))
    moved = env.market.returns[env.today]
    drifted = 0.5 * (1 + moved) / (1 + 0.5 * moved)
    assert env.step(position(0.5))[4]["traded"] == pytest.approx(abs(0.5 - drifted))


def test_a_position_outside_the_limits_is_refused():
    env = TradingEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="not in Box"):
        env.step(np.array([1.5], np.float32))
