"""grpc is loaded with a switch of ours, which nobody else sees."""

import importlib
import os
import subprocess
import sys

import pytest

from rlbridge import grpc_core

NAMES = ("GRPC_EXPERIMENTS", "GRPC_POLL_STRATEGY")
OURS = ("-event_engine_client,-event_engine_listener", "poll")


@pytest.fixture
def load(monkeypatch):
    """Loads grpc, so it seems, for the first time; gives the variables that it found."""
    monkeypatch.delitem(sys.modules, "grpc")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def load():
        found = []
        monkeypatch.setattr(importlib, "import_module", lambda name: found.append(tuple(map(os.environ.get, NAMES))))
        grpc_core._loaded()
        return found

    return load


def test_the_variables_are_there_while_grpc_is_loaded_and_gone_after(load):
    assert load() == [OURS]
    assert not any(name in os.environ for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_somebody_elses_wishes_are_left_alone(load, monkeypatch, name):
    monkeypatch.setenv(name, "theirs")
    assert load() == [tuple("theirs" if other == name else None for other in NAMES)]
    assert os.environ[name] == "theirs"


def test_a_grpc_that_is_loaded_already_is_left_alone(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", object())
    assert load() == [(None, None)]


@pytest.mark.parametrize("module", ["rlbridge.client", "rlbridge.server"])
def test_it_is_here_that_each_half_loads_grpc(module):
    program = f"""
import os, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            print(tuple(map(os.environ.get, {NAMES})))

sys.meta_path.insert(0, Finder())
import {module}
"""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert run.stdout == f"{OURS}\n", run.stderr


@pytest.mark.parametrize("version", ["1.61.3", "1.86.0", "2.0.1rc1"])
def test_a_version_that_may_not_know_it_is_not_given_it(load, monkeypatch, version):
    monkeypatch.setattr(grpc_core, "version", lambda name: version)
    assert load() == [(None, None)]
