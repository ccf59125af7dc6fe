"""Environment servers: started, watched and stopped on a page."""

import asyncio
import os
import signal
import threading

import pytest
from nicegui import ui

import rlbridge
from rlbridge.studio.legacy import LegacyRefused, describe_legacy
from rlbridge.studio.servers import ServerError, Servers
from rlbridge.studio.servers_page import servable
from rlbridge.studio.workshop import TargetRefused
from tests.studio.served import ended, press, said, say_yes, url_of
from tests.studio.simulated import make_workshop, studio_user, until


def hrefs(user, marker):
    return [element.props["href"] for element in user.find(marker=marker).elements]


def test_a_server_is_started_watched_and_stopped(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            user.find(marker="serve-what").type("CartPole-v1")
            press(user, "start-server")
            await until(lambda: said(user, "server-status") == "answers")
            assert "serves CartPole-v1" in said(user, "server-facts")
            assert "0 of 64 sessions open" in said(user, "server-facts")
            grpc, http = said(user, "server-url").split()
            assert grpc.startswith("grpc://127.0.0.1:")
            assert http.startswith("http://127.0.0.1:")
            assert hrefs(user, "train-on") == [f"/new?target={grpc}".replace(":", "%3A").replace("//", "%2F%2F")]
            env = await asyncio.to_thread(rlbridge.make, grpc)
            await until(lambda: "1 of 64 sessions open" in said(user, "server-facts"))
            await asyncio.to_thread(env.close)
            press(user, "stop-server")
            await user.should_see("Its sessions are closed")
            assert workshop.servers.all()[0].alive  # asked, not done
            say_yes(user, "Stop")
            await until(lambda: said(user, "server-status") == "ended")
            assert said(user, "server-url") == said(user, "train-on") == ""
            press(user, "forget-server")
            await until(lambda: not workshop.servers.all() and said(user, "server-status") == "")
            assert list(workshop.servers.folder.iterdir()) == []

    with ended(workshop):
        asyncio.run(scenario())


def test_a_server_that_does_not_start_says_why(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "serve.yaml").write_text("env: nowhere.py:Nothing\n")
    workshop = make_workshop(tmp_path, catalog={"broken": folder})

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            user.find(marker="serve-what").type("broken")
            press(user, "start-server")
            await until(lambda: said(user, "server-status") == "did not start")
            assert "nowhere.py" in said(user, "output-text")
            (told,) = user.find(marker="server-output").elements
            assert isinstance(told, ui.expansion)
            assert told.value  # nobody has to look for it

    with ended(workshop):
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("os:system", "names code"),
        ("plant.py:make", "names code"),
        ("grpc://127.0.0.1:1", "served already"),
        ("../../etc", "no registered"),
        ("--help", "no registered"),
        ("", "no registered"),
    ],
)
def test_code_and_nonsense_are_refused_beside_the_field(tmp_path, typed, problem):
    workshop = make_workshop(tmp_path)
    with pytest.raises(TargetRefused, match=problem):
        servable(workshop, typed)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            field = user.find(marker="serve-what").type(typed)
            press(user, "start-server")
            (element,) = field.elements
            await until(lambda: problem in (element.error or ""))
            field.type("x")
            assert element.error is None

    asyncio.run(scenario())
    assert workshop.servers.all() == []


def test_a_studio_started_again_finds_the_server_though_it_hangs_and_stops_it(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/servers")
            await until(lambda: said(user, "server-status") == "answers")
            server = workshop.servers.get(name)
            os.kill(server.pid, signal.SIGSTOP)
            await until(lambda: said(user, "server-status") == "does not answer")
            assert "DeadlineExceeded" in said(user, "server-facts")
            assert server.urls[0] in said(user, "server-url")
            press(user, "stop-server")
            await user.should_see("Its sessions are closed")
            say_yes(user, "Stop")
            await until(lambda: said(user, "server-status") == "ended")

    with ended(workshop):
        name = workshop.servers.start("CartPole-v1")
        workshop.servers = Servers(workshop.servers.folder)
        asyncio.run(scenario())
        assert not workshop.servers.get(name).alive


def test_a_halted_server_ends_by_itself_when_stopped(tmp_path):
    servers = Servers(tmp_path)
    name = servers.start("CartPole-v1")
    try:
        url_of(servers, name)
        os.kill(servers.get(name).pid, signal.SIGSTOP)
    finally:
        servers.stop(name)
    assert servers._started[name].exit_code == 0  # not killed: a plant was made safe


def test_servers_started_at_once_have_names_of_their_own(tmp_path, monkeypatch):
    class Nothing:
        pid, exit_code = os.getpid(), None

        def __init__(self, arguments, output):
            assert output.exists()

    monkeypatch.setitem(Servers.start.__globals__, "Detached", Nothing)
    servers = [Servers(tmp_path) for _ in range(8)]
    threads = [threading.Thread(target=each.start, args=("CartPole-v1",)) for each in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Servers(tmp_path).all()) == 8


def test_the_addresses_stay_when_a_server_has_said_much_since(tmp_path):
    servers = Servers(tmp_path)
    (tmp_path / "a-1.json").write_text('{"name": "a-1", "environment": "a", "pid": 1, "born": ""}')
    (tmp_path / "a-1.out").write_text("serving grpc://127.0.0.1:1\n" + "a warning\n" * 5_000)
    assert servers.get("a-1").urls == ("grpc://127.0.0.1:1",)


@pytest.mark.parametrize("named", ["_under", "-._under", "__", "...", "\u5851"])
def test_a_server_of_any_name_has_an_entry(tmp_path, monkeypatch, named):
    class Nothing:
        pid, exit_code = os.getpid(), None

        def __init__(self, arguments, output):
            pass

    monkeypatch.setitem(Servers.start.__globals__, "Detached", Nothing)
    servers = Servers(tmp_path / "servers", {named: tmp_path})
    name = servers.start(named)
    assert [server.name for server in servers.all()] == [name]


def test_no_process_is_started_under_a_name_that_is_none(tmp_path, monkeypatch):
    servers = Servers(tmp_path)
    monkeypatch.setitem(Servers.start.__globals__, "Detached", None)
    with pytest.raises(ServerError, match="no server's name"):
        servers._claimed("_under")
    assert list(tmp_path.iterdir()) == []


def test_a_corrected_initial_state_is_another_server(tmp_path):
    first, place = describe_legacy(tmp_path, "http://user:secret@127.0.0.1:8000/", "0, 0", "2")
    again, _ = describe_legacy(tmp_path, "http://user:secret@127.0.0.1:8000/", "0, 0", "2")
    corrected, other = describe_legacy(tmp_path, "http://user:secret@127.0.0.1:8000/", "0, 1", "2")
    assert first == again != corrected
    assert place != other
    assert "secret" not in first  # it is shown on pages


@pytest.mark.parametrize(
    "url", ["http://[", f"http://{'a' * 300}/", "http://h:99999/", "ftp://h/", "http://", "", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(tmp_path, url):
    with pytest.raises(LegacyRefused, match="no address"):
        describe_legacy(tmp_path, url, "0", "2")
    assert list(tmp_path.iterdir()) == []
