"""The data: every trading day of the S&P 500 from 1999 to 2018, as the PyPI package ``arch`` ships them.

The file is read as it lies in the package; ``arch`` itself, which takes seconds to import, is not.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLIT = date(2014, 1, 1)
"""Days before it are for training, the others for the test, once."""
WINDOWS = (1, 5, 20, 60, 250)
"""Of the momentum features [days]."""
FIRST = max(WINDOWS)
"""Days that the features need before the first that can be traded."""


@dataclass(frozen=True)
class Market:
    """Day by day; nothing of day ``t`` is known before its close.

    Attributes:
        days: [T].
        returns: [T] of the adjusted close against that of the day before, as a part of it; the first is 0.
        features: [T, 7] float32, known at the close of day t: the mean returns of the last 1, 5, 20, 60 and 250 days,
            each divided by the volatility of 60 days and times the root of their number; then the logarithm of the
            annual volatility of the last 60 and of the last 20 days, plus 1.9, which is about its mean.
    """

    days: list[date]
    returns: NDArray[np.float64]
    features: NDArray[np.float32]

    def first_from(self, day: date) -> int:
        """The index of the first trading day on or after ``day``."""
        return next(i for i, each in enumerate(self.days) if each >= day)


def load() -> Market:
    """Read the file.

    Raises:
        ModuleNotFoundError: ``arch`` is not installed; names the pip command.
    """
    package = importlib.util.find_spec("arch")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "The trading server reads prices from the package arch: pip install 'rlbridge-toolkit[trading]'"
        )
    with gzip.open(Path(package.submodule_search_locations[0], "data", "sp500", "sp500.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    days = []
    for row in rows:
        month, day, year = map(int, row["Date"].split("/"))
        days.append(date(year, month, day))
    close = np.array([float(row["Adj Close"]) for row in rows])
    returns = np.diff(close, prepend=close[0]) / np.concatenate([close[:1], close[:-1]])
    return Market(days, returns, features_of(returns))


def features_of(returns: NDArray[np.float64]) -> NDArray[np.float32]:
    """[T, 7]; rows before ``FIRST`` are zero."""
    features = np.zeros((len(returns), len(WINDOWS) + 2), np.float32)
    quarter, month = _deviation(returns, 60), _deviation(returns, 20)
    for i, window in enumerate(WINDOWS):
        features[FIRST:, i] = _mean(returns, window) / quarter * window**0.5
    features[FIRST:, -2], features[FIRST:, -1] = np.log(quarter * 252**0.5) + 1.9, np.log(month * 252**0.5) + 1.9
    return features


def _mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Of the last ``window`` days, for each day from ``FIRST`` on."""
    sums = np.cumsum(values)
    return (sums[FIRST:] - sums[FIRST - window : len(sums) - window]) / window


def _deviation(returns: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    return np.sqrt(_mean(returns**2, window) - _mean(returns, window) ** 2)
