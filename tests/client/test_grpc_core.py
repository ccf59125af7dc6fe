"""grpc is loaded with a switch of ours, which nobody else sees."""

import importlib
import os
import sys

import pytest

from rlbridge.client import grpc_core


@pytest.fixture
def load(monkeypatch):
    """Loads grpc, so it seems, for the first time; gives the switches that it found."""
    monkeypatch.delitem(sys.modules, "grpc")
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)

    def load():
        found = []
        monkeypatch.setattr(importlib, "import_module", lambda name: found.append(os.environ.get("GRPC_EXPERIMENTS")))
        grpc_core._loaded()
        return found

    return load


def test_the_switch_is_there_while_grpc_is_loaded_and_gone_after(load):
    assert load() == ["-event_engine_client"]
    assert "GRPC_EXPERIMENTS" not in os.environ


def test_somebody_elses_switches_are_left_alone(load, monkeypatch):
    monkeypatch.setenv("GRPC_EXPERIMENTS", "work_stealing")
    assert load() == ["work_stealing"]
    assert os.environ["GRPC_EXPERIMENTS"] == "work_stealing"


def test_a_grpc_that_is_loaded_already_is_left_alone(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", object())
    assert load() == [None]


@pytest.mark.parametrize("version", ["1.61.3", "1.86.0", "2.0.1rc1"])
def test_a_version_that_may_not_know_it_is_not_given_it(load, monkeypatch, version):
    monkeypatch.setattr(grpc_core, "version", lambda name: version)
    assert load() == [None]
