"""The page of one run, and what can be asked of it there."""

import asyncio
import os
import signal

import pytest

from rlbridge.config import load_config
from rlbridge.server import serve
from rlbridge.studio.run_buttons import RunButtons
from tests.studio.served import say_yes
from tests.studio.simulated import element, is_there, make_workshop, studio_user, until

LONG = {
    "env": {"target": "CartPole-v1", "num_envs": 2},
    "algorithm": {"name": "ppo", "total_steps": 10_000_000, "rollout_steps": 64},
    "evaluation": {"every": 0},
    "run": {"tensorboard": False, "name": "long"},
}
SECONDS = 60


@pytest.fixture
def workshop(tmp_path):
    workshop = make_workshop(tmp_path)
    yield workshop
    for name in workshop.runs.names():
        workshop.runs.kill(name)


def test_a_run_is_watched_held_stopped_and_taken_up(workshop):
    workshop.runs.start(load_config(LONG))

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/run/long")
            status = element(user, "status")
            await until(lambda: status.text == "running", SECONDS)
            await until(lambda: "steps/s" in element(user, "numbers").text, SECONDS)
            await until(lambda: is_there(user, "pause"))
            user.find(marker="pause").click()
            await until(lambda: status.text == "paused", SECONDS)
            await until(lambda: is_there(user, "resume"))
            user.find(marker="resume").click()
            await until(lambda: status.text == "running", SECONDS)
            await until(lambda: is_there(user, "stop"))
            user.find(marker="stop").click()
            await until(lambda: status.text == "stopped", SECONDS)
            await until(lambda: is_there(user, "resume"))
            user.find(marker="resume").click()
            await until(lambda: status.text == "running", SECONDS)
            await until(lambda: is_there(user, "stop"))
            user.find(marker="stop").click()
            await until(lambda: status.text == "stopped", SECONDS)

    asyncio.run(scenario())


def test_a_finished_run_is_trained_further(workshop):
    settings = {**LONG, "algorithm": {**LONG["algorithm"], "total_steps": 256}}
    workshop.runs.start(load_config(settings))

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/run/long")
            await until(lambda: element(user, "status").text == "finished", SECONDS)
            await until(lambda: is_there(user, "further"))
            user.find(marker="further").click()
            await until(lambda: is_there(user, "until"))
            element(user, "until").value = 640
            user.find(marker="further-now").click()
            await until(lambda: workshop.runs.standing("long").steps >= 640, SECONDS)

    asyncio.run(scenario())


def test_a_run_that_cannot_start_shows_why(workshop):
    workshop.runs.start(load_config({**LONG, "env": {"target": "grpc://127.0.0.1:1", "retry_for": 0}}))

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/run/long")
            await until(lambda: element(user, "status").text == "failed", SECONDS)
            await until(lambda: "nothing answers at grpc://127.0.0.1:1" in element(user, "trouble").text)

    asyncio.run(scenario())


def test_a_run_that_hangs_while_it_starts_can_be_killed(workshop, monkeypatch):
    as_the_page_sees = RunButtons.show.__globals__
    monkeypatch.setitem(as_the_page_sees, "_PATIENCE", 3600.0)
    workshop.runs.start(load_config(LONG))
    os.kill(workshop.runs._launches.last("long").pid, signal.SIGSTOP)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/run/long")
            assert element(user, "status").text == "starting"
            assert not is_there(user, "kill")
            monkeypatch.setitem(as_the_page_sees, "_PATIENCE", 0.0)
            await until(lambda: is_there(user, "kill"))
            user.find(marker="kill").click()
            await user.should_see("End the process of long at once?")
            say_yes(user, "Kill")
            await until(lambda: element(user, "status").text == "failed")
            assert not is_there(user, "kill")

    asyncio.run(scenario())


def test_a_server_that_dies_shows_as_such_and_its_return_too(workshop):
    server = serve("CartPole-v1", bind="grpc://127.0.0.1:0")
    try:
        workshop.runs.start(load_config({**LONG, "env": {"target": server.urls[0], "num_envs": 2}}))

        async def scenario():
            async with studio_user(workshop) as user:
                await user.open("/run/long")
                await until(lambda: element(user, "status").text == "running", SECONDS)
                server.stop()
                await until(lambda: "does not answer" in element(user, "trouble").text, SECONDS)

        asyncio.run(scenario())
    finally:
        server.stop()


def test_a_run_that_is_none_is_said_to_be_none(workshop):
    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/run/nothing")
            await user.should_see("there is no run called 'nothing'")

    asyncio.run(scenario())
