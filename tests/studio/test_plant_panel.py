"""An operator's panel: e-stop, mode, signals, interlocks, advice."""

import asyncio
import json
import os
import signal
import threading

import numpy
import pytest
from nicegui import run

import rlbridge
from rlbridge.plants.operator import OperatorFile
from rlbridge.studio.plant_files import plants_in
from rlbridge.wire.errors import BridgeError
from tests.studio.served import ended, press, put_plant, said, url_of
from tests.studio.simulated import make_workshop, studio_user, until


def make(tmp_path, mode="active"):
    folder = put_plant(tmp_path, mode)
    operator = OperatorFile(folder / "operator.jsonl")
    operator.create()
    return make_workshop(tmp_path, catalog={"tank": folder}), operator


def serve_and_step(workshop):
    """A session that has acted once."""
    name = workshop.servers.start("tank")
    env = rlbridge.make(url_of(workshop.servers, name))
    env.reset()
    env.step(numpy.array([0.75], numpy.float32))
    return workshop.servers.get(name), env


def row(user, name):
    (table,) = user.find(marker="signals").elements
    return next((row for row in table.rows if row["name"] == name), {})


def test_a_plant_is_watched_switched_stopped_and_cleared(tmp_path):
    workshop, operator = make(tmp_path)
    token = operator.token_path.read_text()

    async def scenario(env):
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: row(user, "valve").get("decided") == "0.75")
            assert row(user, "valve")["requested"] == "0.75"
            assert (row(user, "level")["limits"], row(user, "level")["unit"]) == ("0 – 10", "m")
            assert "level > 9" in said(user, "interlocks")
            assert said(user, "plant-mode") == "Mode: active"
            assert '"requested": {"valve": 0.75}' in said(user, "audit-lines")

            (mode,), (field,) = user.find(marker="mode").elements, user.find(marker="token").elements
            with user:
                mode.value = "shadow"
            user.find(marker="token").type("not the token")
            press(user, "switch-mode")
            await until(lambda: "needs the operator's token" in (field.error or ""))
            assert operator.standing().mode is None
            with user:
                field.value = token
            assert field.error is None
            press(user, "switch-mode")
            await until(lambda: said(user, "plant-mode") == "Mode: shadow")
            assert operator.standing().mode == "shadow"
            with user:
                mode.value = "active"
            press(user, "switch-mode")
            await until(lambda: said(user, "plant-mode") == "Mode: active")

            press(user, "estop")
            await until(lambda: "E-stop in force" in said(user, "estop-said"))
            await until(lambda: row(user, "valve").get("decided") == "0")
            assert "estop" in row(user, "valve")["why"]
            await until(lambda: said(user, "plant-notes") == "")
            press(user, "clear")
            await until(lambda: said(user, "estop-said") == "")
            assert operator.standing().estop == ""
            assert operator.standing().refused == 0
            await asyncio.to_thread(env.close)
            await until(lambda: said(user, "plant-session").startswith("No session."))

    with ended(workshop):
        _, env = serve_and_step(workshop)
        asyncio.run(scenario(env))


def test_the_estop_works_when_the_server_is_dead_and_when_everything_else_of_the_page_hangs(tmp_path):
    workshop, operator = make(tmp_path)
    hang = threading.Event()

    async def scenario(server):
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: row(user, "valve"))
            os.kill(server.pid, signal.SIGKILL)
            for _ in range(run.thread_pool._max_workers * 2):
                run.thread_pool.submit(hang.wait, 30)
            press(user, "estop")
            await until(lambda: "E-stop in force" in said(user, "estop-said"), 2.0)
            assert operator.standing().estop.startswith("e-stop by ")
            hang.set()
            await until(lambda: "hangs or is dead" in said(user, "plant-notes"))
            assert "E-stop in force" in said(user, "estop-said")

    with ended(workshop):
        server, _ = serve_and_step(workshop)
        try:
            asyncio.run(scenario(server))
        finally:
            hang.set()
        again = workshop.servers.start("tank")
        with (
            pytest.raises(BridgeError, match="the plant is stopped"),
            rlbridge.make(url_of(workshop.servers, again)) as other,
        ):
            other.reset()


def test_an_estop_that_could_not_be_written_says_so_until_one_could(tmp_path):
    workshop, operator = make(tmp_path)
    operator.path.unlink()
    operator.path.mkdir()  # nobody can write to that, whatever the account

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: "not known here" in said(user, "plant-notes"))
            press(user, "estop")
            await until(lambda: "THE E-STOP WAS NOT WRITTEN" in said(user, "estop-said"))
            assert "rlbridge plant estop" in said(user, "estop-said")
            operator.path.rmdir()
            operator.path.touch()
            await until(lambda: said(user, "plant-notes") == "")
            assert "THE E-STOP WAS NOT WRITTEN" in said(user, "estop-said")
            press(user, "estop")
            await until(lambda: "E-stop in force" in said(user, "estop-said"))

    asyncio.run(scenario())
    assert json.loads(operator.path.read_text())["command"] == "estop"


def test_advice_is_let_through_by_its_number(tmp_path):
    workshop, operator = make(tmp_path, "advise")

    async def scenario(env):
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: said(user, "advice"))
            assert row(user, "valve")["decided"] in ("would be 0.75", "would be 0.5")
            user.find(marker="token").type(operator.token_path.read_text())
            press(user, "advice")
            await user.should_see(marker="confirm-advice")
            press(user, "confirm-advice")
            await until(lambda: operator.standing().confirmations == 1)
            lines = (operator.path.parent / "audit.jsonl").read_text
            await until(
                lambda: any(json.loads(line).get("applied") == {"valve": 0.75} for line in lines().splitlines())
            )
            await asyncio.to_thread(env.close)

    with ended(workshop):
        _, env = serve_and_step(workshop)
        asyncio.run(scenario(env))


def test_plants_are_found_though_their_files_are_wrong(tmp_path):
    tank = put_plant(tmp_path)
    (tank / "live.yaml").write_text("driver: nonsense\ngate: {operator: live.jsonl, mode: wrong}\n")
    (tank / "run.yaml").write_text("env: {target: CartPole-v1}\n")
    several = tmp_path / "several"
    several.mkdir()
    (several / "serve.yaml").write_text(
        "envs:\n  - {name: a, env: p.py:P, gate: {operator: a.jsonl}}\n  - {env: q.py:Q, gate: {}}\n"
    )
    (several / "broken.yaml").write_text("gate: {operator: [\n")
    plants, unreadable = plants_in({"tank": tank, "several": several, "gone": tmp_path / "gone"})
    assert {plant.name: plant.operator for plant in plants} == {
        "tank": tank / "operator.jsonl",
        "tank/live.yaml": tank / "live.jsonl",
        "several/a": several / "a.jsonl",
    }
    assert [file.file for file in unreadable] == [several / "broken.yaml"]


def test_interlocks_are_told_before_any_session(tmp_path):
    workshop, _ = make(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: said(user, "interlocks") == "level > 9 · latches")
            press(user, "estop")
            await until(lambda: "the next session finds it stopped" in said(user, "plant-notes"))

    asyncio.run(scenario())
