"""What the config and the run folders refuse, said in Chinese."""

import asyncio
import re

import pytest
from nicegui import ui

from rlbridge.config import ConfigError, load_config, parse_config
from rlbridge.runs.folder import RunFolderError
from rlbridge.studio.legacy import LegacyRefused, describe_legacy
from rlbridge.studio.probe import ProbeFailed, probe
from rlbridge.studio.refusals import refusal
from rlbridge.studio.words import COOKIE, words_of
from rlbridge.studio.workshop import TargetRefused
from tests.studio.simulated import make_workshop, studio_user
from tests.studio.test_runs_page import put_run

SERVED = {"target": "grpc://elsewhere:1"}
DQN = {"name": "dqn"}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"env": {"num_envs": 0}}, "env.num_envs = 0: 应大于或等于 1"),
        ({"algorithm": {"learning_rate": 0}}, "algorithm.learning_rate = 0: 应大于 0"),
        ({"algorithm": {"gamma": 2}}, "algorithm.gamma = 2: 应小于或等于 1"),
        ({"algorithm": {"gamma": "a: b"}}, 'algorithm.gamma = "a: b": 应为数字，无法从文本解析'),
        ({"algorithm": {"gamma": float("inf")}}, "algorithm.gamma = Infinity: 应为有限的数"),
        ({"algorithm": {"gamma": [1]}}, "algorithm.gamma = [1]: 应为数字"),
        ({"env": {"num_envs": "x"}}, 'env.num_envs = "x": 应为整数，无法从文本解析'),
        ({"env": {"num_envs": 1.5}}, "env.num_envs = 1.5: 应为整数，不能有小数部分"),
        ({"env": {"num_envs": True}}, "env.num_envs = true: 此处不能用 true 或 false"),
        ({"env": {"processes": "maybe"}}, 'env.processes = "maybe": 应为 true 或 false，无法识别输入'),
        ({"env": {"kwargs": "abc"}}, 'env.kwargs = "abc": 应为映射'),
        ({"env": 3}, "env = 3: 应为映射（EnvConfig）"),
        ({"env": {"target": ""}}, 'env.target = "": 至少应有 1 个字符'),
        ({"env": {"target": ["a"]}}, 'env.target = ["a"]: 尚不支持多个环境地址的列表，请只给一个'),
        ({"network": {"hidden": [64, 0]}}, "network.hidden.1 = 0: 应大于或等于 1"),
        ({"network": {"hidden": 3}}, "network.hidden = 3: 应为列表"),
        (
            {"network": {"activation": "x"}},
            "network.activation = \"x\": 应为 'tanh', 'relu', 'elu' 或 'silu'",
        ),
        ({"run": {"name": "a/b"}}, "run.name = \"a/b\": 应符合格式 '^[A-Za-z0-9][A-Za-z0-9._-]*$'"),
        (
            {"algorithm": {"name": "pp"}},
            "algorithm.name = \"pp\": 应为以下之一：ppo, dqn, ddpg, td3, sac；是否想写 'ppo'？",
        ),
        ({"algorithm": {"name": 3}}, "algorithm.name = 3: 应为以下之一：ppo, dqn, ddpg, td3, sac"),
        ({"algorithm": {"gama": 3}}, "未知的键 'algorithm.gama' = 3；是否想写 'gamma'？"),
        ({"algorithm": {"tau": 3}}, "未知的键 'algorithm.tau' = 3；它属于 dqn, ddpg, td3, sac。"),
        ({"zzz": 3}, "未知的键 'zzz' = 3；此处可用：env, algorithm, network, evaluation, checkpoint, run。"),
        ({"env": {"sessions": 3}}, "env.num_envs = 8 不能平均分给 3 个会话"),
        ({"env": {**SERVED, "sessions": 2, "placement": "edge"}}, "env.sessions = 2 不起作用，仅对 step 有效"),
        ({"env": {**SERVED, "kwargs": {"a": 1}}}, "而 'grpc://elsewhere:1' 在服务器上；请在服务器端设置"),
        ({"env": {**SERVED, "processes": True}}, "env.processes 仅用于本地环境，而 'grpc://elsewhere:1' 在服务器上"),
        ({"env": {"placement": "edge"}}, "而 'CartPole-v1' 在本地"),
        ({"env": {"chunk": 3}}, "env.placement = step 时 env.chunk 不起作用，仅对 edge 有效"),
        ({"env": {"num_envs": 1}, "algorithm": {"rollout_steps": 1}}, "一次更新至少需要 2 个转移"),
        ({"network": {"shared": True}, "algorithm": DQN}, "network.shared = true：dqn 只有一个网络"),
        (
            {"env": {**SERVED, "placement": "edge"}, "algorithm": {**DQN, "exploration": "gaussian_epsilon"}},
            "env.placement = edge 时只能用 epsilon 和 greedy",
        ),
        (
            {"algorithm": {**DQN, "replay_size": 3}},
            "algorithm.replay_size = 3 太小：algorithm.batch_size = 256、algorithm.n_step = 5 且 env.num_envs = 8 时，"
            "至少需要 256",
        ),
        ({"algorithm": {**DQN, "total_steps": 10}}, "到 algorithm.total_steps = 10 为止一个梯度步也不会做"),
        (
            {"algorithm": {**DQN, "recent": 3}},
            "algorithm.replay = uniform 时 algorithm.recent = 3 不起作用，仅对 recent 有效",
        ),
    ],
)
def test_a_wrong_setting(tree, said):
    with pytest.raises(ConfigError) as refused:
        load_config(tree)
    ((_, text),) = refused.value.problems
    assert said in refusal(words_of("zh"), text)
    assert not english_in(refusal(words_of("zh"), text))
    assert refusal(words_of("en"), text) in (text, text.partition("}: ")[2])  # less a section as its own value
    assert refusal(words_of("zh"), refused.value).splitlines()[0] == "运行的设置中有 1 处问题"


def english_in(said: str) -> list[str]:
    """Words that no setting, value or name is made of."""
    return re.findall(r"\b(?:should|input|the|only|server|with|is|are|key|mean)\b", said.lower())


def test_a_section_does_not_stand_before_what_is_wrong_in_it():
    with pytest.raises(ConfigError) as refused:
        load_config({"env": {"sessions": 3}})
    assert refused.value.problems[0][1].startswith("env = {")
    assert refusal(words_of("zh"), refused.value.problems[0][1]).startswith("env.num_envs = 8 ")


def test_several_problems_are_a_line_each():
    with pytest.raises(ConfigError) as refused:
        load_config({"env": {"num_envs": 0}, "algorithm": {"gamma": 2}})
    assert refusal(words_of("zh"), refused.value) == (
        "运行的设置中有 2 处问题\n  env.num_envs = 0: 应大于或等于 1\n  algorithm.gamma = 2: 应小于或等于 1"
    )


@pytest.mark.parametrize(("text", "said"), [("a: [", "运行文件不是有效的 YAML：while"), ("- 3", "而不是 [3]。")])
def test_a_run_file_that_is_none(text, said):
    with pytest.raises(ConfigError) as refused:
        parse_config(text, words_of("zh")("the run file"))
    assert said in refusal(words_of("zh"), refused.value)


def test_names_targets_and_what_a_run_is_doing(tmp_path):
    workshop, t = make_workshop(tmp_path), words_of("zh")
    put_run(workshop, "first", steps=500)
    put_run(workshop, "second", steps=500)
    with pytest.raises(TargetRefused) as code:
        workshop.require_target("os:system")
    with pytest.raises(TargetRefused) as unknown:
        workshop.require_target("Nothing-v0")
    with pytest.raises(RunFolderError) as name:
        workshop.runs.path("../elsewhere")
    with pytest.raises(RunFolderError) as taken:
        workshop.runs.rename("first", "second")
    folder = workshop.runs.open("first")
    folder.hold()
    with pytest.raises(RunFolderError) as busy:
        workshop.runs.delete("first")
    folder.release()
    assert "网页不能让它执行。请在启动 studio 时加上 --target os:system" in refusal(t, code.value)
    assert refusal(t, unknown.value) == "'Nothing-v0' 既不是已注册的 Gymnasium 环境，也不是服务器地址。"
    assert refusal(t, name.value).startswith("'../elsewhere' 不能用作运行名")
    assert refusal(t, taken.value) == "已有名为 'second' 的运行，请换一个名称。"
    assert refusal(t, busy.value) == "first 启动中，请先停止它。"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("ftp://a", "0", "2"), "'ftp://a' 不是 http://127.0.0.1:8000/ 这样的地址"),
        (("http://a", "x", "2"), "'x' 不是 0, 0, 0, 0 这样的数字列表"),
        (("http://a", "0", "1"), "'1' 不是有效的动作个数：应为不小于 2 的整数"),
    ],
)
def test_a_first_generation_server_that_is_none(tmp_path, typed, said):
    with pytest.raises(LegacyRefused) as refused:
        describe_legacy(tmp_path, *typed)
    assert refusal(words_of("zh"), refused.value) == said


def test_a_server_that_does_not_answer():
    with pytest.raises(ProbeFailed) as silent:
        probe("grpc://127.0.0.1:1")
    said = refusal(words_of("zh"), silent.value)
    assert said.startswith("grpc://127.0.0.1:1 没有应答（")
    assert said.endswith("；`rlbridge doctor grpc://127.0.0.1:1` 可查明原因。")


def test_what_is_not_known_stays_as_it_is():
    assert refusal(words_of("zh"), OSError(28, "No space left on device")) == "[Errno 28] No space left on device"


def test_the_form_refuses_in_chinese(tmp_path):
    workshop = make_workshop(tmp_path)

    async def scenario():
        async with studio_user(workshop) as user:
            user.http_client.cookies.set(COOKIE, "zh")
            await user.open("/new")
            await user.should_see("新建运行")
            user.find("algorithm.gamma").clear().type("2")
            assert error_of(user, "algorithm.gamma") == "algorithm.gamma = 2: 应小于或等于 1"
            await user.should_see("有 1 项设置不正确")
            user.find("yaml").elements.pop().set_value("- 3")
            assert "而不是 [3]。" in error_of(user, "yaml")

    asyncio.run(scenario())


def error_of(user, mark):
    (element,) = user.find(mark).elements
    assert isinstance(element, (ui.input, ui.textarea))
    return element.error


def test_a_long_text_of_a_server_is_not_searched():
    """Matching it would take hours: it is cubic."""
    text = "a = " + ": is " * 5_000
    assert refusal(words_of("zh"), text) == text
