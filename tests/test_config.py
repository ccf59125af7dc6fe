"""The run file: what is read from it, what is refused, and in which words."""

import subprocess
import sys

import pytest

from rlbridge.config import ConfigError, RunConfig, dump_config, json_schema, load_config
from rlbridge.config.algorithms import ALGORITHMS


def test_defaults_need_no_file():
    config = load_config()
    assert config.env.target == "CartPole-v1"
    assert config.algorithm.name == "ppo"
    assert load_config().env is not config.env  # nothing shared between two runs


def test_overrides_merge_before_validation(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("env: {target: Pendulum-v1, num_envs: 2}\nalgorithm: {gamma: 0.9}\n")
    config = load_config(path, ["env.num_envs=4", "algorithm.gae_lambda=0.8"])
    assert (config.env.target, config.env.num_envs) == ("Pendulum-v1", 4)
    assert (config.algorithm.gamma, config.algorithm.gae_lambda) == (0.9, 0.8)


def test_an_override_may_repair_what_the_file_has_wrong(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("env: {num_envs: 0}\n")
    assert load_config(path, ["env.num_envs=3"]).env.num_envs == 3


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3", "1_0e-4"])
def test_numbers_are_numbers_in_overrides_and_files(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"algorithm: {{learning_rate: {text}}}\nenv: {{kwargs: {{x: {text}}}}}\n")
    assert load_config(path).algorithm.learning_rate == pytest.approx(1e-3)
    # Where no schema helps, the file itself must know a number.
    assert load_config(path).env.kwargs == {"x": pytest.approx(1e-3)}
    assert load_config(None, [f"algorithm.learning_rate={text}"]).algorithm.learning_rate == pytest.approx(1e-3)


def test_steps_may_be_written_with_underscores_or_as_powers():
    assert load_config(None, ["algorithm.total_steps=100_000"]).algorithm.total_steps == 100_000
    assert load_config(None, ["algorithm.total_steps=1e6"]).algorithm.total_steps == 1_000_000


def test_a_url_survives_as_an_override():
    assert load_config(None, ["env.target=grpc://h:50051/line"]).env.target == "grpc://h:50051/line"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("algorithm.learning_rat=1", ["'algorithm.learning_rat'", "did you mean 'learning_rate'?"]),
        ("algoritm.learning_rate=1", ["'algoritm'", "did you mean 'algorithm'?"]),
        ("total_steps=5", ["'total_steps'", "did you mean 'algorithm.total_steps'?"]),
        ("run.zzz=5", ["'run.zzz'", "known here: name, dir"]),
        ("env.num_envs=0", ["env.num_envs = 0", "greater than or equal to 1"]),
        ("env.num_envs=yes", ["env.num_envs = true", "true or false"]),
        ("env.num_envs=2.5", ["env.num_envs = 2.5", "integer"]),
        ("algorithm.gamma=1.5", ["algorithm.gamma = 1.5", "less than or equal to 1"]),
        ("algorithm.gamma=abc", ["algorithm.gamma", '"abc"', "number"]),
        ("algorithm.gamma=.nan", ["algorithm.gamma"]),
        ("algorithm.name=dqm", ["algorithm.name", '"dqm"', "ppo, dqn", "did you mean 'dqn'?"]),
        ("algorithm.epsilon_start=1", ["'algorithm.epsilon_start'", "it belongs to dqn"]),
        ("network.activation=gelu", ["network.activation", '"gelu"', "'tanh'"]),
        ("network.hidden=[64, -1]", ["network.hidden.1 = -1"]),
        ("env.target=[grpc://a:1, grpc://b:1]", ["env.target", "fleet", "not available yet"]),
        ("env.placement=edge", ["env.placement", "local", "rlbridge serve"]),
        ("env.sessions=3", ["env.num_envs = 8", "over 3 sessions"]),
        ("env.chunk=4", ["env.chunk has no effect", "only with edge"]),
        ("env.overlap=0", ["env.overlap has no effect", "only with edge"]),
        ("env.placement=moon", ["env.placement", "'step'", "'edge'"]),
        ("run.name=../up", ["run.name"]),
        ("run.name=..", ["run.name"]),
        ("env=3", ["env = 3"]),
        ("env.num_envs", ["not of the form section.key=value"]),
        ("=3", ["not of the form section.key=value"]),
        ("env.target={", ["not YAML"]),
    ],
)
def test_refusals_name_the_path_the_value_and_what_is_allowed(override, words):
    with pytest.raises(ConfigError) as refusal:
        load_config(None, [override])
    for word in words:
        assert word in str(refusal.value)


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as refusal:
        load_config({"env": {"num_envs": 0}, "algorithm": {"gama": 1}})
    assert "2 problem(s)" in str(refusal.value)
    assert "env.num_envs" in str(refusal.value)
    assert "'gamma'" in str(refusal.value)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="at least 2 transitions"):
        load_config({"env": {"num_envs": 1}, "algorithm": {"rollout_steps": 1}})
    with pytest.raises(ConfigError, match=r"on a server"):
        load_config({"env": {"target": "grpc://h:1", "kwargs": {"a": 1}}})


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1, 2]", "a mapping of sections"), ("env: {a", "not YAML"), ("env: {}\nenv: {num_envs: 2}", "given twice")],
)
def test_files_that_are_no_runs(text, words, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the run file .*nothing\.yaml"):
        load_config(tmp_path / "nothing.yaml")


def test_what_is_dumped_reads_back_equal(tmp_path):
    config = load_config(None, ["algorithm.learning_rate=1e-5", "algorithm.target_kl=0.02", "run.seed=7"])
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_the_source_mapping_is_left_alone():
    source = {"env": {"num_envs": 2}}
    load_config(source, ["env.num_envs=3"])
    assert source == {"env": {"num_envs": 2}}


def test_every_field_is_described():
    sections = [field.annotation for name, field in RunConfig.model_fields.items() if name != "algorithm"]
    for section in (RunConfig, *sections, *ALGORITHMS.values()):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
    assert json_schema()["$defs"]["PPOConfig"]["properties"]["gamma"]["description"]


def test_importing_the_schema_loads_neither_torch_nor_grpc():
    code = "import sys, rlbridge.config; print([m for m in ('torch', 'grpc') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
