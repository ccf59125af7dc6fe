"""A plant in a serve.yaml, served."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import rlbridge
from rlbridge import errors
from rlbridge.cli import app
from rlbridge.plants import Clock, Gate, Interlock, Task
from rlbridge.plants.plant_file import PlantFile, SignalSettings
from rlbridge.server.catalog import load_catalog
from tests.conftest import ROOT

TANK = f"""
env: {ROOT}/tests/plants/tanks.py:Tank
signals:
  valve: {{low: 0.1, max_rate: 6/min}}
clock: {{period: 500 ms}}
gate:
  safe_action: {{valve: 0.2}}
  audit: audit.jsonl
  interlocks:
    - {{when: level > 6, then: {{pump: -2}}, until: level < 5.5}}
task: {{reward: "-abs(level - 6)", horizon: 10}}
"""


@pytest.fixture
def plant_file(tmp_path):
    def write(text: str):
        (tmp_path / "serve.yaml").write_text(text)
        return str(tmp_path)

    return write


def test_clients_get_the_guarded_plant(serve, plant_file, tmp_path):
    url = serve(plant_file(TANK)).urls[0]
    env = rlbridge.make(url)
    assert env.action_space.low.tolist() == pytest.approx([0.1, -2.0])
    env.reset()
    _, reward, _, _, info = env.step(np.array([1.0, 9.0], np.float32))
    assert info["applied"].tolist() == [0.55, 2.0]
    assert info["why"] == {"valve": ["rate"], "pump": ["limit"]}
    assert reward == pytest.approx(-(6 - 5 - 0.05 * 2.55))
    env.close()
    audit = (tmp_path / "audit.jsonl").read_text()
    assert '"by":"rlbridge' in audit
    assert "at ipv4:127.0.0.1" in audit


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_reaches_the_plant(serve, plant_file, wrong):
    env = rlbridge.make(serve(plant_file(TANK)).urls[0])
    env.reset()
    with pytest.raises(errors.InvalidAction):
        env.step(np.array([wrong, 0.0], np.float32))
    assert env.step(np.array([0.5, 0.0], np.float32))[-1]["applied"][0] == 0.5
    env.close()


def test_a_batch_of_simulated_plants_is_one_object_in_every_mode(serve, plant_file):
    url = serve(plant_file(TANK.replace(":Tank", ":Tanks").replace("  audit: audit.jsonl\n", ""))).urls[0]
    for mode in ("NextStep", "SameStep", "Disabled"):
        envs = rlbridge.make_vec(url, 64, autoreset_mode=mode)
        envs.reset(seed=0)
        *_, infos = envs.step(np.ones((64, 2), np.float32))
        assert infos["applied"].shape == (64, 2)
        envs.close()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("500 ms", "soon", "'soon' is no duration"),
        ("6/min", "fast", "'fast' is no rate"),
        ("valve: {low", "vavle: {low", "did you mean 'valve'"),
        ("low: 0.1", "low: -5", "wider than the plant's own"),
        ("6/min", "9/s", "above the plant's own"),
        ("pump: -2}", "pump: -5}", "outside"),
        ("task:", "driver: opcua\ntask:", "either env"),
        ("task:", "endpoint: x\ntask:", "keys of a driver need driver"),
        ("gate:", "gate:\n  mod: active", "unknown key 'gate.mod'; did you mean 'mode'"),
        ("task:", "taks: {}\ntask:", "unknown key 'taks'; did you mean 'task'"),
        ("valve: {low", "valve: {lo", "unknown key 'signals.valve.lo'; did you mean 'low'"),
        ('reward: "-abs(level - 6)"', 'reward: "-abs(levle - 6)"', "did you mean 'level'"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_at_the_start(plant_file, old, new, message):
    assert old in TANK
    with pytest.raises(Exception, match=message):
        load_catalog(plant_file(TANK.replace(old, new)))[0].make()


def test_a_class_that_is_no_plant_yet_or_a_plant_without_its_file_says_what_to_do(plant_file, tmp_path):
    (tmp_path / "kiln.py").write_text("class Kiln:\n    signals = []\n    def safe_action(self): return {}\n")
    with pytest.raises(errors.RemoteEnvError, match="Kiln is no plant yet, it has no start, read, write, close: "):
        load_catalog(plant_file("env: kiln.py:Kiln\nclock: {period: 1 s}\n"))[0].make()
    with pytest.raises(ValueError, match=r"it is a plant, and a plant needs a serve\.yaml with"):
        load_catalog(plant_file("env: kiln.py:Kiln\n"))[0].check()


def test_a_key_beside_envs_is_told_where_it_belongs(plant_file):
    with pytest.raises(ValueError, match="name: beside envs: there is nothing else"):
        load_catalog(plant_file("name: kiln\nenvs: [{env: CartPole-v1}]\n"))


def test_an_unknown_driver_or_key_is_named(plant_file):
    signals = "signals: {a: {role: action, low: 0, high: 1}, b: {role: observation, low: 0, high: 1}}\n"
    with pytest.raises(ValueError, match="opcua"):
        load_catalog(plant_file("driver: opcau\n" + signals))
    with pytest.raises(ValueError, match="did you mean 'endpoint'"):
        load_catalog(plant_file("driver: modbus\nendpont: tcp://localhost\n" + signals))


def test_inspecting_names_the_numbers_and_their_units(serve, plant_file):
    text = TANK + "summary: A tank.\n"
    done = CliRunner().invoke(app, ["inspect", serve(plant_file(text)).urls[0]])
    assert "A tank. Observation: level [m]. Action: valve, pump." in done.output


def test_every_simulated_plant_has_an_audit_of_its_own(serve, plant_file, tmp_path):
    envs = rlbridge.make_vec(serve(plant_file(TANK)).urls[0], 3)
    envs.reset()
    envs.close()
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"audit.jsonl", "audit-2.jsonl", "audit-3.jsonl"}


def test_two_sessions_cannot_hold_one_plant(serve, plant_file):
    url = serve(
        plant_file(TANK.replace(":Tank", ":LiveTank").replace("gate:\n", "gate:\n  dead_man: {ramp: 0}\n"))
    ).urls[0]
    first, second = rlbridge.make(url), rlbridge.make(url)
    first.reset()
    with pytest.raises(errors.RemoteEnvError, match="another session holds the plant"):
        second.reset()
    first.close()
    second.reset()
    second.close()


def test_the_page_lists_every_key_and_its_default():
    text = (ROOT / "docs" / "plants.md").read_text().partition("## All keys")[2]
    content = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    file = PlantFile.model_validate(content)
    listed = {"clock": content["clock"], "gate": content["gate"], "task": content["task"]}
    for name, section in listed.items():
        assert section.keys() == type(getattr(file, name)).model_fields.keys()
    assert content.keys() | {"driver"} == PlantFile.model_fields.keys()
    assert {key for signal in content["signals"].values() for key in signal} == SignalSettings.model_fields.keys()
    assert content["gate"]["interlocks"][0].keys() == Interlock.model_fields.keys()
    assert file.clock == Clock()
    unlike = {"safe_action", "interlocks", "audit", "operator"}  # examples; the others are the defaults
    assert file.gate.model_dump(exclude=unlike) == Gate().model_dump(exclude=unlike)
    assert file.task == Task()
