"""Setting a run up: the form, its YAML, the probe, what is refused and where that is said."""

import asyncio

import pytest
import yaml
from nicegui import ui

from rlbridge.config import ALGORITHMS, ConfigError, RunConfig, load_config
from rlbridge.studio.form import fields_of, problems_of
from rlbridge.studio.workshop import TargetRefused
from tests.studio.simulated import element, make_workshop, studio_user, until


def typed(user, marker, value):
    element(user, marker).set_value(value)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_setting_of_the_config_is_a_field_and_comes_back_as_it_was(name):
    tree = RunConfig(algorithm=ALGORITHMS[name]()).model_dump(mode="json")
    fields = {field.path: field for fields in fields_of(name).values() for field in fields}
    missing = {f"{section}.{key}" for section, values in tree.items() for key in values} - set(fields)
    assert missing == {"algorithm.name", "env.credentials", "run.dir"}
    for path, field in fields.items():
        section, key = path.split(".")
        assert field.help, path
        assert field.meant(field.shown(tree[section][key])) == tree[section][key], path


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("algorithm", "gamma", 2), ("env", "num_envs", "many"), ("network", "hidden", [64, 0]), ("run", "name", "../up")],
)
def test_a_mistake_stands_beside_its_field(section, key, value):
    paths = {field.path for fields in fields_of("ppo").values() for field in fields}
    found = problems_of(
        {"algorithm": {"name": "ppo"}, section: {"name": "ppo"} if section == "algorithm" else {}}, paths
    )
    assert found == {}
    tree = {"algorithm": {"name": "ppo"}}
    tree.setdefault(section, {})[key] = value
    found = problems_of(tree, paths)
    assert set(found) == {f"{section}.{key}"}
    assert str(value) in found[f"{section}.{key}"][0] or "0" in found[f"{section}.{key}"][0]


def test_a_mistake_of_two_settings_stands_beside_the_first_it_speaks_of():
    paths = {field.path for fields in fields_of("ppo").values() for field in fields}
    assert set(problems_of({"env": {"num_envs": 3, "sessions": 2}}, paths)) == {"env.num_envs"}


def test_form_and_yaml_follow_each_other(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "algorithm.gamma", "0.5")
            assert yaml.safe_load(element(user, "yaml").value)["algorithm"]["gamma"] == 0.5
            typed(user, "yaml", "algorithm: {name: sac, batch_size: 77}\nenv: {target: Pendulum-v1}\n")
            assert element(user, "algorithm").value == "sac"
            assert element(user, "algorithm.batch_size").value == "77"
            assert element(user, "target").value == "Pendulum-v1"
            typed(user, "yaml", "algorithm: {name: sac, batch_size: [}")
            assert "not YAML" in element(user, "yaml").error

    asyncio.run(scenario())


def test_a_mistake_is_said_at_its_field_and_nothing_starts(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "algorithm.gamma", "2")
            assert "algorithm.gamma = 2" in element(user, "algorithm.gamma").error
            assert not element(user, "start").enabled
            typed(user, "algorithm.gamma", "0.9")
            assert element(user, "algorithm.gamma").error is None
            assert element(user, "start").enabled

    asyncio.run(scenario())
    assert workshop.runs.names() == []


def test_the_probe_shows_what_is_there_and_leaves_the_algorithms_that_fit(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "target", "Pendulum-v1")
            typed(user, "algorithm", "dqn")
            user.find(marker="probe").click()
            await until(lambda: element(user, "algorithm").value != "dqn")
            assert set(element(user, "algorithm").options) == {"ppo", "ddpg", "td3", "sac"}
            await user.should_see("Box([-1. -1. -8.], [1. 1. 8.], (3,), float32)")

    asyncio.run(scenario())


@pytest.mark.parametrize("target", ["os:system", "evil.py:make", "NoSuchEnv-v9", ""])
def test_only_servers_and_registered_environments_may_be_named(tmp_path, target):
    workshop = make_workshop(tmp_path)
    with pytest.raises(TargetRefused):
        workshop.require_target(target)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "target", target)
            user.find(marker="start").click()
            user.find(marker="probe").click()
            await until(lambda: element(user, "target").error or element(user, "trouble").text)

    asyncio.run(scenario())
    assert workshop.runs.names() == []


def test_what_the_command_line_allows_may_be_named(tmp_path):
    assert make_workshop(tmp_path, targets=["tests.envs:make"]).require_target("tests.envs:make") == "tests.envs:make"


@pytest.mark.parametrize(
    "env",
    [{"credentials": {"token_file": "/etc/passwd"}}, {"kwargs": {"xml": "/etc/passwd"}}, {"kwargs": {"a": ["..\\x"]}}],
)
def test_no_page_names_files_of_this_machine(tmp_path, env):
    with pytest.raises(ConfigError):
        make_workshop(tmp_path).require_harmless(load_config({"env": env}))


def test_a_run_starts_and_is_named_after_its_environment(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "algorithm.total_steps", "256")
            typed(user, "env.num_envs", "2")
            user.find(marker="start").click()
            await until(lambda: workshop.runs.names() == ["CartPole-v1-ppo-1"])
            await until(lambda: workshop.runs.standing("CartPole-v1-ppo-1").status == "finished", 60)

    asyncio.run(scenario())
    assert workshop.runs.standing("CartPole-v1-ppo-1").steps >= 256
    assert workshop.runs.config("CartPole-v1-ppo-1").run.dir == str(workshop.runs.folder)


def test_a_clone_begins_with_the_settings_of_the_other_run(tmp_path):
    from tests.studio.test_runs_page import put_run

    workshop = make_workshop(tmp_path)
    put_run(workshop, "first")
    file = workshop.runs.folder / "first" / "config.yaml"
    file.write_text(file.read_text().replace("gamma: 0.99", "gamma: 0.77"))

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new?like=first")
            assert element(user, "algorithm.gamma").value == "0.77"
            assert element(user, "run.name").value == ""
            assert isinstance(element(user, "yaml"), ui.textarea)

    asyncio.run(scenario())


def test_a_first_generation_server_is_served_on_and_probed(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "legacy-url", "http://127.0.0.1:1/")
            typed(user, "legacy-state", "0, 0, nothing")
            typed(user, "legacy-actions", "2")
            user.find(marker="legacy-serve").click()
            await until(lambda: "nothing" in (element(user, "legacy-url").error or ""))
            typed(user, "legacy-state", "0, 0, 0, 0")
            user.find(marker="legacy-serve").click()
            await until(lambda: element(user, "target").value.startswith("grpc://"), 60)
            await user.should_see("Discrete(2)", retries=100)
            assert element(user, "env.num_envs").value == "1"
            assert element(user, "evaluation.every").value == "0"  # it would step the environment that is trained on

    try:
        asyncio.run(scenario())
    finally:
        for server in workshop.servers.all():
            workshop.servers.stop(server.name)


BOMB = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in range(1, 30))


@pytest.mark.parametrize(
    "text", [BOMB, "x" * 100_000, "[" * 5_000, "a: &a {b: *a}", "a: 2024-13-45", "[" * 300 + "]" * 300]
)
def test_yaml_that_would_keep_the_page_busy_is_refused_at_once(tmp_path, text):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            await user.open("/new")
            typed(user, "yaml", text)
            assert element(user, "yaml").error
            assert not element(user, "start").enabled  # what would start is not what is shown
            typed(user, "env.kwargs", text)
            assert element(user, "env.kwargs").error
            typed(user, "env.kwargs", "{b: 1}")
            assert yaml.safe_load(element(user, "yaml").value)["env"]["kwargs"] == {"b": 1}

    asyncio.run(scenario())


def test_nothing_is_smuggled_past_the_refusal_of_paths(tmp_path):
    workshop = make_workshop(tmp_path)
    with pytest.raises(ConfigError):
        workshop.require_harmless(load_config({"env": {"kwargs": {"a": b"/etc/passwd"}}}))
    with pytest.raises(ConfigError):
        workshop.require_harmless(load_config({"env": {"kwargs": {"env_id": "module:x-v0"}}}))
    with pytest.raises(TargetRefused):
        workshop.require_target("rlbridge/Remote-v0")
    with pytest.raises(TargetRefused, match="grpc://"):
        workshop.require_target("127.0.0.1:8192")


def test_a_run_folder_that_names_code_is_not_played_nor_gone_on_with(tmp_path):
    from tests.studio.test_runs_page import put_run

    workshop = make_workshop(tmp_path)
    put_run(workshop, "first")
    workshop.require_run("first")
    file = workshop.runs.folder / "first" / "config.yaml"
    file.write_text(file.read_text().replace("CartPole-v1", "/tmp/evil.py:make"))
    with pytest.raises(TargetRefused, match="names code"):
        workshop.require_run("first")
