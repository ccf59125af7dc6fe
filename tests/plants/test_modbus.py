"""The Modbus/TCP driver against pymodbus' own server, in another process."""

from __future__ import annotations

import struct
import time

import pytest

from rlbridge.plants import PlantLost, PlantRefused, Signal
from rlbridge.plants.drivers import load_driver
from tests.plants.peer import Peer

SIGNALS = [
    Signal("level", "observation", 0, 30, "cm", tag={"input": 10, "type": "float32", "word_order": "little"}),
    Signal("flow", "observation", -50, 50, "L/min", tag={"input": 12, "scale": 0.01, "offset": -5, "bad": 32767}),
    Signal("alarm", "observation", 0, 1, tag={"discrete": 3}),
    Signal("speed", "action", 0, 3000, "rpm", tag={"holding": 20, "type": "uint32", "device_id": 7}),
    Signal("valve", "action", 0, 100, "%", tag={"holding": 40, "type": "uint16", "scale": 0.1}),
    Signal("pump", "action", 0, 1, tag={"coil": 5}),
]
SAFE = {"speed": 0.0, "valve": 0.0, "pump": 0.0}


@pytest.fixture(scope="module")
def server():
    peer = Peer("tests.plants.modbus_server")
    yield peer
    peer.kill()


@pytest.fixture
def connect(server, tmp_path):
    plants = []

    def make(signals=SIGNALS, timeout=5.0, **settings):
        settings = {"endpoint": f"tcp://127.0.0.1:{server.port}", "timeout": timeout, **settings}
        plants.append(load_driver("modbus")(signals, SAFE, tmp_path, **settings))
        return plants[-1]

    yield make
    for plant in plants:
        plant.close()


def put_level(server, value: float) -> None:
    high, low = struct.unpack(">2H", struct.pack(">f", value))
    set_input(server, 10, low, high)


def set_input(server, address: int, *words: int) -> None:
    assert server.tell(f"set 1 4 {address} {' '.join(map(str, words))}") == "done"


def test_word_order_scale_offset_types_and_devices(connect, server):
    put_level(server, 12.26)
    set_input(server, 12, 650)
    plant = connect()
    plant.start(None, {})
    reading = plant.read()
    assert reading.bad == frozenset()
    assert reading.values["level"] == pytest.approx(12.26, abs=1e-6)
    assert reading.values["flow"] == pytest.approx(1.5)
    assert reading.values["alarm"] == 0
    assert abs(reading.time - time.time()) < 60
    plant.write({"speed": 70_000.0, "valve": 42.5, "pump": 1.0})
    assert server.tell("get 7 3 20 2") == f"{70_000 >> 16} {70_000 & 0xFFFF}"
    assert server.tell("get 1 3 20 2") == "0 0"
    assert server.tell("get 1 3 40 1") == "425"
    assert server.tell("get 1 1 5 1").split()[0] == "1"
    back = plant.read().values
    assert (back["speed"], back["valve"], back["pump"]) == (70_000, 42.5, 1)
    assert plant.safe_action() == SAFE


def test_negative_numbers_and_little_words_survive_the_way_there_and_back(connect, server):
    tags = [
        {"holding": 60, "type": kind, "word_order": order}
        for kind in ("int16", "int32", "int64", "float32", "float64")
        for order in ("big", "little")
    ]
    for tag in tags:
        plant = connect([Signal("x", "action", -1000, 1000, tag=tag)])
        plant.start(None, {})
        plant.write({"x": -777.0})
        assert plant.read().values["x"] == -777, tag


def test_a_nan_a_sentinel_and_a_register_that_fails_are_bad(connect, server):
    put_level(server, 5.0)
    set_input(server, 12, 0)
    plant = connect()
    plant.start(None, {})
    put_level(server, float("nan"))
    assert plant.read().bad == {"level"}
    put_level(server, 5.0)
    set_input(server, 12, 32767)
    reading = plant.read()
    assert reading.bad == {"flow"}
    assert reading.values["level"] == 5
    set_input(server, 12, 0)
    server.tell("fault 12 4")  # the device answers DEVICE_FAILURE for this register, and for all of that request
    assert plant.read().bad == {"level", "flow"}
    server.tell("fault 12 0")
    assert plant.read().bad == frozenset()


def test_a_value_outside_its_range_is_handed_on_as_it_is(connect, server):
    put_level(server, 99.0)
    plant = connect()
    plant.start(None, {})
    assert plant.read().values["level"] == 99
    put_level(server, 5.0)


def test_an_address_that_the_device_does_not_have_is_named_at_the_start(connect):
    plant = connect([*SIGNALS, Signal("lost", "observation", 0, 1, tag={"holding": 5000})])
    with pytest.raises(PlantRefused, match=r"'lost'.*ILLEGAL_ADDRESS for holding 5000.*40101 is holding: 100"):
        plant.start(None, {})


@pytest.mark.parametrize(
    ("tag", "role", "message"),
    [
        (None, "observation", "must be a mapping with one of holding, input, coil, discrete"),
        ({"holding": 1, "input": 2}, "observation", "must be a mapping with one of"),
        ({"holding": 1, "typ": "int16"}, "observation", "unknown typ; keys: type, scale"),
        ({"holding": 1, "type": "real"}, "observation", "type 'real'; types: int16"),
        ({"holding": 1, "word_order": "middle"}, "observation", "word_order 'middle'"),
        ({"holding": 400101}, "observation", "address 400101 is not within 0 to 65535"),
        ({"holding": 65535, "type": "float32"}, "observation", "address 65535 is not within"),
        ({"holding": 1, "scale": 0}, "observation", "scale 0"),
        ({"input": 1}, "action", "only holding and coil can be"),
        ({"holding": 1, "scale": 0.001}, "action", "the limit 100 does not fit into int16 with scale 0.001"),
    ],
)
def test_a_tag_that_cannot_be_is_refused_when_the_plant_is_made(connect, tag, role, message):
    with pytest.raises(ValueError, match=f"signal 'x': tag .*{message}"):
        connect([Signal("x", role, 0, 100, tag=tag)])


def test_what_the_device_refuses_to_write_is_named(connect, server):
    plant = connect()
    plant.start(None, {})
    server.tell("fault 40 6")
    with pytest.raises(PlantLost, match=r"refused to write valve=10.0 \(DEVICE_BUSY\)"):
        plant.write({"valve": 10.0})
    server.tell("fault 40 0")
    plant.write({"valve": 11.0})
    assert server.tell("get 1 3 40 1") == "110"


def test_a_device_that_hangs_ends_each_call_within_its_deadline_and_may_come_back(connect, server):
    plant = connect(timeout=1.0)
    plant.start(None, {})
    server.hang()
    try:
        for call in (plant.read, lambda: plant.write({"valve": 1.0}), lambda: plant.start(None, {})):
            with pytest.raises(PlantLost, match=r"tcp://127.0.0.1:\d+ gave no answer within 1 s"):
                call()
    finally:
        server.go_on()
    plant.write({"valve": 30.0})
    assert plant.read().values["valve"] == 30  # no late answer of before is taken for this one


def test_a_device_that_dies_is_an_error_and_one_that_restarts_is_found_again(connect, server):
    plant = connect()
    plant.start(None, {})
    server.kill()
    with pytest.raises(PlantLost, match="while reading"):
        plant.read()
    with pytest.raises(PlantLost, match="cannot connect to"):
        plant.write({"valve": 1.0})
    server.start()
    plant.write({"valve": 20.0})  # not closed, not made anew: what the gate does to make a plant safe
    assert server.tell("get 1 3 40 1") == "200"
    assert plant.read().values["valve"] == 20


@pytest.mark.parametrize("endpoint", ["127.0.0.1:502", "opc.tcp://h:502", "tcp://"])
def test_an_endpoint_that_is_none_says_what_one_looks_like(connect, endpoint):
    with pytest.raises(ValueError, match=r"tcp://HOST:PORT"):
        connect(endpoint=endpoint)
