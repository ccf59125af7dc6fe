"""Playing a policy file: without torch, by chance where asked for, and never one that is not what it says."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rlbridge.learn.onnx_graph import policy_model
from rlbridge.play import Description, OnnxPolicy, PolicyFileError, onnx_policy
from rlbridge.play.network import MAX_NUMBERS
from rlbridge.play.onnx_file import MAX_BYTES, read_onnx
from rlbridge.play.onnx_policy import check_model
from tests.exported import KINDS, NO_TORCH, described, policy_of, rows_for, write


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_is_played_where_there_is_no_torch(tmp_path):
    policy = policy_of("gaussian")
    path = write(tmp_path, policy)
    rows = rows_for(policy, 20)
    np.save(tmp_path / "rows.npy", rows)
    play = (
        "import json, numpy as np\nfrom rlbridge.play import OnnxPolicy\n"
        "policy = OnnxPolicy.load(sys.argv[1])\n"
        "print(json.dumps(policy.act(np.load(sys.argv[2]), deterministic=True).tolist()))\n"
    )
    actions = json.loads(python(NO_TORCH + play, str(path), str(tmp_path / "rows.npy")))
    np.testing.assert_allclose(actions, policy.act(rows, deterministic=True), atol=1e-5)


def test_importing_play_loads_nothing_heavy():
    code = "import sys, rlbridge.play\nprint(*{name.split('.')[0] for name in sys.modules})"
    assert not {"torch", "onnx", "onnxruntime", "PIL", "grpc", "google", "pydantic"} & set(python(code).split())


def test_without_onnxruntime_the_pip_command_is_named(tmp_path, monkeypatch):
    path = write(tmp_path, policy_of("greedy"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rlbridge-toolkit\[play\]'"):
        OnnxPolicy.load(path)


def player(name: str, seed: int = 0) -> tuple:
    policy = policy_of(name)
    model = policy_model(policy)
    return policy, OnnxPolicy(model, described(policy, model), seed)


@pytest.mark.parametrize("name", KINDS)
def test_chance_has_a_generator_of_its_own(name):
    policy, first = player(name, seed=4)
    _, again = player(name, seed=4)
    _, other = player(name, seed=5)
    rows = rows_for(policy, 20 if "picture" in name else 200)
    before = np.random.get_state()[1].tolist()
    drawn = first.raw(rows, deterministic=False)
    assert np.random.get_state()[1].tolist() == before
    assert np.array_equal(drawn, again.raw(rows, deterministic=False))
    by_chance = not name.startswith(("greedy", "deterministic"))
    assert np.array_equal(drawn, other.raw(rows, deterministic=False)) != by_chance
    assert np.array_equal(drawn, first.raw(rows, deterministic=True)) != by_chance
    space = policy.actions.space
    assert all(space.contains(action) for action in first.actions.to_environment(drawn))


def test_choices_come_as_often_as_torch_says():
    policy, played = player("categorical")
    row = np.zeros((1, policy.encoder.size), np.float32)
    logits = played.outputs(row)["logits"][0]
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    drawn = played.raw(np.repeat(row, 20_000, 0), deterministic=False)[:, 0]
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, wanted, atol=0.015)


@pytest.mark.parametrize("name", ["gaussian", "squashed_gaussian"])
def test_numbers_scatter_as_torch_says(name):
    policy, played = player(name)
    row = np.zeros((1, policy.encoder.size), np.float32)
    outputs = played.outputs(row)
    drawn = played.raw(np.repeat(row, 20_000, 0), deterministic=False).astype(np.float64)
    mean, std = outputs["mean"][0], np.exp(outputs["log_std"]).reshape(-1)
    if name == "squashed_gaussian":  # quantiles go through the tanh unchanged; moments do not
        wanted = np.tanh([mean - std, mean, mean + std])
    else:
        wanted = np.array([mean - std, mean, mean + std])
    np.testing.assert_allclose(np.quantile(drawn, [0.1587, 0.5, 0.8413], axis=0), wanted, atol=0.05 * std.max())


def test_pictures_may_lie_upside_down():
    policy, played = player("greedy, picture")
    picture = rows_for(policy, 1)[0]
    view = picture[::-1, ::-1]
    assert played.act(view, deterministic=True) == played.act(view.copy(), deterministic=True)


def model_of(name="categorical") -> onnx.ModelProto:
    return onnx.load_from_string(policy_model(policy_of(name)))


def external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def foreign_operator(model):
    model.graph.node[0].domain = "com.microsoft"


def foreign_set(model):
    model.opset_import.append(helper.make_opsetid("evil.example", 1))


def other_set(model):
    model.opset_import[0].version = 21


def function(model):
    model.functions.append(helper.make_function("", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], []))


def loop(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["observation"], ["z"], body=body))


def unknown_operator(model):
    model.graph.node[0].op_type = "Concat"


def constant_node(model):
    model.graph.node.append(helper.make_node("ConstantOfShape", ["constant0"], ["z"]))


def sparse(model):
    model.graph.sparse_initializer.add()


def second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 3]))


def other_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4


def other_type(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def fixed_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_output(model):
    model.graph.output[0].name = "action"


def no_output(model):
    del model.graph.output[:]


def too_few_outputs(model):
    model.graph.node[-1].input[0] = model.graph.node[-2].input[0]  # hidden features as logits


def short_constant(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def twice(model):
    model.graph.initializer.append(model.graph.initializer[0])


def bomb(model):
    """A column times a row: small constants, and a table of their product."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [1, 3], np.ones(3, np.float32).tobytes(), raw=True)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], np.zeros(1, np.float32).tobytes(), raw=True)
    side = 2**14
    column = helper.make_tensor("column", TensorProto.FLOAT, [side, 1], bytes(4 * side), raw=True)
    line = helper.make_tensor("line", TensorProto.FLOAT, [side], bytes(4 * side), raw=True)
    model.graph.initializer.extend([one, zero, column, line])
    nodes = [
        helper.make_node("Gemm", ["observation", "one", "zero"], ["narrow"], transB=1),
        helper.make_node("Mul", ["narrow", "column"], ["tall"]),
        helper.make_node("Mul", ["tall", "line"], ["table"]),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes + rest)


HOSTILE = [
    (external, "external data"),
    (foreign_operator, "operators of 'com.microsoft'"),
    (foreign_set, r"operators of 'evil\.example'"),
    (other_set, "operator set 17 is wanted"),
    (function, "functions or other parts"),
    (loop, "attribute 'body' holds a tensor, a graph"),
    (unknown_operator, "operator 'Concat'"),
    (constant_node, "operator 'ConstantOfShape'"),
    (sparse, "field 15"),
    (second_input, r"the network takes .*more"),
    (other_size, r"\[None, 4\].*\[None, 3\]"),
    (other_type, r"the network takes .*11"),
    (fixed_batch, r"\[1, 3\]"),
    (other_output, r"gives \('action',\); a categorical policy \('logits',\)"),
    (no_output, r"gives \(\)"),
    (too_few_outputs, r"logits has shape \(16,\) a row"),
    (short_constant, "cannot be the 8 bytes it has"),
    (twice, "says twice"),
    (bomb, "cannot be, or is too large"),
]


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fails the test as soon as onnxruntime is given anything."""

    def given(model):
        raise AssertionError("onnxruntime was given a file that should have been refused")

    monkeypatch.setattr(onnx_policy, "_session", given)


@pytest.mark.parametrize(("change", "words"), HOSTILE, ids=lambda x: getattr(x, "__name__", ""))
def test_a_hostile_file_is_refused_before_anything_runs(nothing_runs, change, words):
    policy, model = policy_of("categorical"), model_of()
    change(model)
    data = model.SerializeToString()
    with pytest.raises(PolicyFileError, match=words):
        OnnxPolicy(data, described(policy, data))


def test_the_files_that_are_changed_there_are_fine_otherwise():
    policy, model = policy_of("categorical"), model_of()
    check_model(model.SerializeToString(), described(policy, model.SerializeToString()))


def test_layers_that_grow_without_bounds_are_refused(nothing_runs):
    policy, model = policy_of("greedy, picture"), model_of("greedy, picture")
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    pads = next(attribute for attribute in conv.attribute if attribute.name == "pads")
    pads.ints[:] = [MAX_NUMBERS] * 4
    data = model.SerializeToString()
    with pytest.raises(PolicyFileError, match=r"a Conv of .* cannot be, or is too large"):
        OnnxPolicy(data, described(policy, data))


def test_torn_files_are_refused_wherever_they_end(nothing_runs):
    policy, data = policy_of("categorical"), model_of().SerializeToString()
    for end in [*range(0, 60), *range(60, len(data), 97)]:
        torn = data[:end]
        with pytest.raises(PolicyFileError):
            OnnxPolicy(torn, described(policy, torn))


def test_whatever_is_in_a_file_it_is_read_or_refused():
    """Bytes changed, cut out and doubled at random: nothing but PolicyFileError, and never for long."""
    policy, data = policy_of("categorical"), model_of().SerializeToString()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(1_500):
        changed = bytearray(data)
        start, length = generator.integers(0, len(data)), generator.integers(1, 30)
        match generator.integers(3):
            case 0:
                changed[start] = generator.integers(256)
            case 1:
                del changed[start : start + length]
            case _:
                changed[start:start] = changed[start : start + length]
        try:
            check_model(bytes(changed), described(policy, bytes(changed)))
        except PolicyFileError:
            refused += 1
    assert refused > 500


def test_absurd_sizes_are_refused_unread(tmp_path, nothing_runs):
    path = write(tmp_path, policy_of("categorical"))
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(PolicyFileError, match=r"larger than 67,108,864 bytes"):
        OnnxPolicy.load(path)
    with pytest.raises(PolicyFileError, match="more than 100,000 entries"):
        read_onnx(b"\x08\x01" * 200_000)
    with pytest.raises(PolicyFileError, match="does not end"):
        read_onnx(b"\xff" * 100)


def test_a_file_that_was_replaced_is_refused(tmp_path, nothing_runs):
    path = write(tmp_path, policy_of("categorical"))
    path.write_bytes(policy_model(policy_of("categorical", seed=1)))
    with pytest.raises(PolicyFileError, match=r"policy\.onnx \(with policy\.json\) is not played: .*sha256 is"):
        OnnxPolicy.load(path)


def test_what_is_missing_is_named(tmp_path):
    path = write(tmp_path, policy_of("categorical"))
    (tmp_path / "policy.json").unlink()
    with pytest.raises(PolicyFileError, match=r"policy\.json cannot be read: there is none"):
        OnnxPolicy.load(path)
    with pytest.raises(PolicyFileError, match=r"other\.onnx cannot be read: there is none"):
        OnnxPolicy.load(tmp_path / "other.onnx")
    with pytest.raises(PolicyFileError, match=r"should end in \.onnx"):
        OnnxPolicy.load(tmp_path / "policy.json")


BOX = {"kind": "Box", "shape": [3], "dtype": "float32", "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(format=2), "format '2'; this version of rlbridge reads 1"),
        (lambda tree: tree.update(kind="magic"), "kind is 'magic'"),
        (lambda tree: tree.update(kind="gaussian"), "'gaussian' does not go with actions of Discrete"),
        (lambda tree: tree.update(steps="many"), "steps is 'many'; it should be a int"),
        (lambda tree: tree.update(steps=True), "steps is 'True'"),
        (lambda tree: tree.pop("sha256"), "sha256 is missing"),
        (lambda tree: tree.update(evaluation={"seed": -1}), r"evaluation\.seed is -1"),
        (lambda tree: tree["observation"].update(space={"kind": "Text"}), "no space is called 'Text'"),
        (lambda tree: tree["observation"].update(space={**BOX, "shape": [2**40]}), "16,777,216 are allowed"),
        (lambda tree: tree["observation"].update(space={**BOX, "shape": [-3]}), "is no shape"),
        (lambda tree: tree["observation"].update(space={**BOX, "dtype": "object"}), "no type of number"),
        (lambda tree: tree["observation"].update(space={**BOX, "low": [0, 0]}), "observation.space describes no"),
        (lambda tree: tree["action"].update(space={"kind": "Discrete", "n": 0, "start": 0}), "action.space"),
        (lambda tree: tree["action"].update(space={"kind": "Dict", "parts": []}), "a space that no policy has"),
    ],
)
def test_a_description_that_is_wrong_says_where(change, words):
    policy = policy_of("categorical")
    tree = json.loads(described(policy, b"").to_json())
    change(tree)
    with pytest.raises(PolicyFileError, match=words):
        Description.from_json(json.dumps(tree))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": 1}'])
def test_a_torn_description_is_refused(text):
    with pytest.raises(PolicyFileError):
        Description.from_json(text)


@pytest.mark.parametrize("name", KINDS)
def test_a_description_comes_back_as_it_was(name):
    _, observation_space, action_space, *_ = KINDS[name]
    told = Description(
        name.split(",")[0],
        observation_space,
        action_space,
        hashlib.sha256(b"x").hexdigest(),
        algorithm="any",
        steps=7,
        score={"last": 1.5, "last_at": 10, "best": None},
        evaluation={"seed": 3},
    )
    text = told.to_json()
    assert Description.from_json(text) == told
    assert json.loads(text)["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert dataclasses.replace(told, steps=1) != told
