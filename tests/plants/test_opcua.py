"""The OPC UA driver against asyncua's own server, in another process."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest
import yaml

from rlbridge.plants import PlantLost, PlantRefused, Signal
from rlbridge.plants.drivers import load_driver
from rlbridge.plants.drivers.opcua_discover import Tag, draft
from rlbridge.plants.drivers.opcua_discover import discover as browse
from tests.conftest import ROOT
from tests.plants.peer import Peer

SIGNALS = [
    Signal("temperature", "observation", 280, 400, "K", tag="ns=2;s=Reactor.T"),
    Signal("pressure", "observation", 0, 5, "bar", tag="ns=2;s=P"),
    Signal("coolant", "action", 290, 312, "K", tag="ns=2;s=Coolant.SP"),
    Signal("pump", "action", 0, 1, tag="ns=2;s=Pump.On"),
    Signal("stages", "action", 0, 8, tag="ns=2;s=Stages"),
]
SAFE = {"coolant": 290.0, "pump": 0.0, "stages": 0.0}


@pytest.fixture(scope="module")
def server():
    peer = Peer("tests.plants.opcua_server")
    yield peer
    peer.kill()


@pytest.fixture
def connect(server, tmp_path):
    plants = []

    def make(signals=SIGNALS, timeout=5.0):
        endpoint = f"opc.tcp://127.0.0.1:{server.port}"
        plants.append(load_driver("opcua")(signals, SAFE, tmp_path, endpoint=endpoint, timeout=timeout))
        return plants[-1]

    yield make
    for plant in plants:
        plant.close()


def test_it_reads_and_writes_each_tag_in_its_own_type(connect, server):
    server.tell("set T 324.5")
    plant = connect()
    plant.start(None, {})
    before = plant.read()
    assert before.values["temperature"] == 324.5
    assert before.values["pressure"] == 1.5
    assert before.bad == frozenset()
    assert abs(before.time - time.time()) < 60
    plant.write({"coolant": 301.5, "pump": 1.0, "stages": 3.0})
    assert server.tell("get SP") == "301.5"
    assert server.tell("get Pump") == "True"
    assert server.tell("get Stages") == "3"
    assert plant.read().values == {**before.values, "coolant": 301.5, "pump": 1.0, "stages": 3.0}
    assert plant.safe_action() == SAFE


@pytest.mark.parametrize("line", ["bad T", "uncertain T 321", "set T nan", "set T inf"])
def test_a_value_that_is_not_good_is_bad_and_never_a_number(connect, server, line):
    plant = connect()
    plant.start(None, {})
    server.tell(line)
    reading = plant.read()
    assert reading.bad == {"temperature"}
    assert "temperature" not in reading.values
    assert reading.values["pressure"] == 1.5
    server.tell("set T 330")
    assert plant.read().values["temperature"] == 330


def test_a_value_outside_its_range_is_handed_on_as_it_is(connect, server):
    plant = connect()
    plant.start(None, {})
    server.tell("set T 512")
    assert plant.read().values["temperature"] == 512
    server.tell("set T 324.5")


def test_the_time_is_that_of_the_source(connect, server):
    plant = connect()
    plant.start(None, {})
    first = plant.read().time
    assert plant.read().time == first
    server.tell("set T 325")
    assert plant.read().time > first


@pytest.mark.parametrize(
    ("tag", "message"),
    [("ns=2;s=Nowhere", "no readable variable 'ns=2;s=Nowhere'.*discover"), ("i=85", "no readable variable")],
)
def test_a_tag_that_is_not_there_is_named_at_the_start(connect, tag, message):
    plant = connect([*SIGNALS, Signal("lost", "observation", 0, 1, tag=tag)])
    with pytest.raises(PlantRefused, match=f"'lost'.*{message}"):
        plant.start(None, {})


def test_text_where_a_number_belongs_is_bad(connect):
    plant = connect([Signal("name", "observation", 0, 1, tag="ns=2;s=Name")])
    plant.start(None, {})
    assert plant.read().bad == {"name"}


@pytest.mark.parametrize("tag", [None, "Reactor.T", "ns=x;s=T"])
def test_a_tag_that_is_no_node_id_is_refused_when_the_plant_is_made(connect, tag):
    with pytest.raises(ValueError, match=r"'temperature': tag .* ns=2;s=Reactor.T"):
        connect([Signal("temperature", "observation", 0, 1, tag=tag)])


def test_what_the_server_refuses_to_write_is_named(connect):
    plant = connect([Signal("pressure", "action", 0, 5, tag="ns=2;s=P")])
    plant.start(None, {})
    with pytest.raises(PlantLost, match=r"refused to write pressure=2.0 \(Bad(UserAccessDenied|NotWritable)"):
        plant.write({"pressure": 2.0})


def test_a_server_that_hangs_ends_each_call_within_its_deadline_and_may_come_back(connect, server):
    plant = connect(timeout=2.0)
    plant.start(None, {})
    server.hang()
    try:
        for call in (plant.read, lambda: plant.write({"coolant": 300.0}), lambda: plant.start(None, {})):
            with pytest.raises(PlantLost, match=r"opc.tcp://127.0.0.1:\d+ gave no answer within 2 s"):
                call()
    finally:
        server.go_on()
    plant = connect()
    plant.start(None, {})
    plant.write({"coolant": 303.0})
    assert server.tell("get SP") == "303.0"


def test_a_server_that_dies_is_an_error_and_one_that_restarts_is_found_again(connect, server):
    plant, other = connect(), connect()
    plant.start(None, {})
    server.kill()
    with pytest.raises(PlantLost, match="while reading"):
        plant.read()
    with pytest.raises(PlantLost, match="refused the connection"):
        plant.write({"coolant": 300.0})
    server.start()
    plant.write({"coolant": 304.0})  # not closed, not made anew: what the gate does to make a plant safe
    assert server.tell("get SP") == "304.0"
    assert math.isclose(plant.read().values["temperature"], 324.5)
    other.start(None, {})
    assert other.read().values["coolant"] == 304.0


def discover(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlbridge", "plant", "discover", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_discover_drafts_what_the_server_says_of_its_tags(server, tmp_path):
    server.tell("set T 324.5")
    server.tell("set SP 300")
    url = f"opc.tcp://127.0.0.1:{server.port}"
    done = discover(url, "--out", str(tmp_path / "serve.yaml"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "serve.yaml").read_text()
    drafted = yaml.safe_load(text)
    assert drafted["driver"] == "opcua"
    assert drafted["endpoint"] == url
    assert drafted["gate"]["mode"] == "observe"
    signals = drafted["signals"]
    temperature = {"role": "observation", "unit": "K", "low": 280, "high": 400, "tag": "ns=2;s=Reactor.T"}
    coolant = {"role": "action", "unit": "K", "low": 290, "high": 312, "tag": "ns=2;s=Coolant.SP"}
    assert signals["temperature"] == temperature
    assert signals["coolant_set_point"] == coolant
    assert drafted["gate"]["safe_action"]["coolant_set_point"] == 300
    assert set(signals) == {"temperature", "coolant_set_point", "stages"}  # neither text nor what has no range
    assert "# pressure: {role: observation, low: ?, high: ?" in text
    again = discover(url, "--out", str(tmp_path / "serve.yaml"))
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_discover_says_why_when_nobody_answers(server):
    done = discover("opc.tcp://127.0.0.1:9", "--timeout", "5")
    assert done.returncode == 1
    assert "refused the connection" in done.stderr
    server.hang()
    try:
        with pytest.raises(PlantLost, match="gave no answer within 1 s"):
            browse(f"opc.tcp://127.0.0.1:{server.port}", timeout=1.0)
    finally:
        server.go_on()


def test_names_of_a_draft_are_unique():
    path = [
        ("Line", "Motor", "Speed"),
        ("Line", "Pump", "Speed"),
        ("Line", "Pump", "1st stage"),
        ("Line", "Pump", "Speed"),
    ]
    tags = [Tag(f"i={i}", p, False, 1.0, 0.0, 2.0, 'a"\n') for i, p in enumerate(path)]
    signals = yaml.safe_load(draft("opc.tcp://h:1", tags))["signals"]
    assert list(signals) == ["motor_speed", "line_pump_speed", "_1st_stage", "line_pump_speed_2"]
    assert signals["motor_speed"]["unit"] == 'a"\n'


def test_a_server_that_wants_encryption_and_a_password_gets_them(tmp_path):
    peer = Peer("tests.plants.opcua_server", str(tmp_path))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")
    endpoint = f"opc.tcp://127.0.0.1:{peer.port}"
    secure = {"security": "Basic256Sha256,SignAndEncrypt,client.der,client-key.pem", "user": "operator"}
    made = []

    def connect(**settings):
        made.append(load_driver("opcua")(SIGNALS, SAFE, tmp_path, endpoint=endpoint, timeout=10, **settings))
        return made[-1]

    try:
        plant = connect(**secure, password_file="password")
        plant.start(None, {})
        assert plant.read().values["temperature"] == 324.5
        for settings in ({}, {**secure, "password_file": "wrong"}):
            with pytest.raises(PlantLost, match="failed"):
                connect(**settings).start(None, {})
        with pytest.raises(ValueError, match=r"security 'Basic1,Sign': expected Policy,Mode"):
            connect(security="Basic1,Sign")
        with pytest.raises(ValueError, match=r"two files or three"):
            connect(security="Basic256Sha256,Sign,client.der")
    finally:
        for plant in made:
            plant.close()
        peer.kill()
