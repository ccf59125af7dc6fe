"""Drivers in a serve.yaml: a peer that hangs or dies ends its own session, within the deadline, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import rlbridge
from rlbridge.errors import RemoteEnvError
from rlbridge.plants.drivers.opcua_discover import discover, draft
from tests.conftest import ROOT
from tests.plants.peer import Peer

COMMON = {
    "clock": {"period": "50 ms", "patience": "20 s"},
    "gate": {"dead_man": {"hold": "60 s", "ramp": 0}},
    "task": {"reward": "1"},
}
OPCUA = {
    "driver": "opcua",
    "timeout": "2 s",
    "signals": {
        "temperature": {"role": "observation", "low": 280, "high": 400, "tag": "ns=2;s=Reactor.T"},
        "coolant": {"role": "action", "low": 290, "high": 312, "tag": "ns=2;s=Coolant.SP"},
        "alive": {"role": "heartbeat", "tag": "ns=2;s=Pump.On"},
    },
}
MODBUS = {
    "driver": "modbus",
    "timeout": "2 s",
    "signals": {
        "level": {"role": "observation", "low": 0, "high": 30, "tag": {"input": 10, "type": "float32"}},
        "valve": {"role": "action", "low": 0, "high": 100, "tag": {"holding": 40, "scale": 0.1}},
        "alive": {"role": "heartbeat", "tag": {"coil": 9}},
    },
}
SHOP = {
    "driver": "simpy",
    "name": "shop",
    "model": f"{ROOT}/tests/plants/shop.py:Shop",
    "signals": {
        "waiting": {"role": "observation", "low": 0, "high": 100},
        "rate": {"role": "action", "low": 0.01, "high": 4},
    },
    "gate": {"safe_action": {"rate": 0.1}},
    "task": {"horizon": 10},
}


def write(folder: Path, *plants: dict) -> str:
    (folder / "serve.yaml").write_text(yaml.safe_dump({"envs": list(plants)}))
    return str(folder)


@pytest.fixture(scope="module", params=["opcua", "modbus"])
def device(request):
    """A peer, and the plant that it is."""
    peer = Peer(f"tests.plants.{request.param}_server")
    settings, scheme, safe = {
        "opcua": (OPCUA, "opc.tcp", {"coolant": 295.0}),
        "modbus": (MODBUS, "tcp", {"valve": 5.0}),
    }[request.param]
    gate = {**COMMON["gate"], "safe_action": safe}
    yield peer, {**COMMON, **settings, "name": "device", "endpoint": f"{scheme}://127.0.0.1:{peer.port}", "gate": gate}
    peer.kill()


def steps(env, action) -> None:
    """A few: the thread that owns the plant may have read it just before."""
    for _ in range(3):
        env.step(action)


def test_a_device_that_hangs_or_dies_ends_its_own_session_and_no_other(device, serve, tmp_path):
    peer, plant = device
    url = serve(write(tmp_path, plant, SHOP)).urls[0]
    env, other = rlbridge.make(f"{url}/device"), rlbridge.make(f"{url}/shop")
    low = env.action_space.low
    try:
        env.reset()
        other.reset(seed=0)
        env.step(low)
        peer.hang()
        with pytest.raises(RemoteEnvError, match="gave no answer within 2 s"):
            steps(env, low)
        other.step(other.action_space.low)
        peer.go_on()
        env.reset()
        env.step(low)
        peer.kill()
        with pytest.raises(RemoteEnvError, match=r"127.0.0.1:\d+"):
            steps(env, low)
        other.step(other.action_space.low)
        peer.start()
        env.reset()
        env.step(low)
    finally:
        env.close()
        other.close()


def test_the_device_gets_the_safe_action_and_a_heartbeat(device, serve, tmp_path):
    peer, plant = device
    get, safe, beat = ("get SP", "295.0", "get Pump") if plant["driver"] == "opcua" else ("get 1 3 40 1", "50", None)
    env = rlbridge.make(serve(write(tmp_path, plant)).urls[0])
    env.reset()
    _, _, _, _, info = env.step(env.action_space.high)
    assert info["applied"] == pytest.approx(env.action_space.high)
    assert peer.tell(get) != safe
    if beat:
        seen = set()
        for _ in range(20):
            env.step(env.action_space.high)
            seen.add(peer.tell(beat))
        assert seen == {"True", "False"}
    env.close()
    assert peer.tell(get) == safe


@pytest.mark.parametrize("device", ["opcua"], indirect=True)
def test_bad_quality_and_a_value_out_of_range_end_the_episode_and_never_reach_the_policy(device, serve, tmp_path):
    peer, plant = device
    env = rlbridge.make(serve(write(tmp_path, plant)).urls[0])
    for line in ("bad T", "set T nan", "set T 500"):
        peer.tell("set T 324.5")
        assert env.reset()[0].tolist() == [324.5]
        peer.tell(line)
        for _ in range(3):
            observation, _, terminated, truncated, _ = env.step(env.action_space.high)
            assert observation.tolist() == [324.5]
            if truncated:
                break
        assert (terminated, truncated) == (False, True)
        assert peer.tell("get SP") == "295.0"
    env.close()


@pytest.mark.parametrize("device", ["opcua"], indirect=True)
def test_a_draft_of_discover_can_be_served_as_it_is_and_only_watches(device, serve, tmp_path):
    peer, _ = device
    peer.tell("set T 324.5")
    before = peer.tell("get SP")
    endpoint = f"opc.tcp://127.0.0.1:{peer.port}"
    (tmp_path / "serve.yaml").write_text(draft(endpoint, discover(endpoint)))
    env = rlbridge.make(serve(str(tmp_path)).urls[0])
    observation, _ = env.reset()
    assert observation.tolist() == [324.5]
    env.step(env.action_space.low)
    env.close()
    assert peer.tell("get SP") == before


def test_an_fmu_that_is_stopped_or_crashes_ends_its_own_session_and_no_other(serve, tmp_path):
    source = ROOT / "tests/plants/fmus/tank.py"
    build = [sys.executable, "-m", "pythonfmu", "build", "-f", source, "-d", tmp_path]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    signals = {
        "level": {"role": "observation", "low": -100, "high": 100},
        "inflow": {"role": "action", "low": -1, "high": 1},
        "mode": {"role": "action", "low": 0, "high": 9},
    }
    plant = {"driver": "fmu", "file": "Tank.fmu", "timeout": 2.0, "signals": signals}
    url = serve(write(tmp_path, {**plant, "gate": {"safe_action": {"inflow": 0, "mode": 0}}})).urls[0]
    env, other = rlbridge.make(url), rlbridge.make(url)
    calm = np.array([1, 0], np.float32)
    try:
        for each in (env, other):
            each.reset()
            assert each.step(calm)[0].tolist() == [1.5]
        with pytest.raises(RemoteEnvError, match="SIGABRT"):
            env.step(np.array([1, 1], np.float32))
        assert other.step(calm)[0].tolist() == [2.0]
        env.reset()
        assert env.step(calm)[0].tolist() == [1.5]
        children = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "fmu_process/worker.py"], capture_output=True, text=True
        )
        newest = max(map(int, children.stdout.split()))
        os.kill(newest, signal.SIGSTOP)
        with pytest.raises(RemoteEnvError, match="within 2 s"):
            env.step(calm)
        assert other.step(calm)[0].tolist() == [2.5]
    finally:
        env.close()
        other.close()
