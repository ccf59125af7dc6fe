"""Checkpoints come back bit for bit, or say why not."""

import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from scripted import learner_for

from rlbridge.learn import checkpoint, weights_digest
from rlbridge.learn.checkpoint import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    load_last,
    prune_checkpoints,
    save_checkpoint,
    tidy_checkpoints,
)
from rlbridge.learn.run import _policy_of
from rlbridge.play.space_state import space_to_state

STATE = {
    "weights": {"a.b": torch.arange(6.0).view(2, 3), "view": torch.arange(6.0)[2:4]},
    "generator": torch.Generator().manual_seed(3).get_state(),
    "array": np.array([[1.5, np.nan]]),
    "counters": {"steps": 2**40, "best": -np.inf, "name": "x", "none": None, "yes": True, "list": [1, [2.5]]},
}


def test_round_trip(tmp_path):
    folder = save_checkpoint(tmp_path / "step_1", STATE)
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "state.json", "tensors.safetensors"]
    state = load_checkpoint(folder)
    assert state["counters"] == STATE["counters"]
    assert torch.equal(state["weights"]["a.b"], STATE["weights"]["a.b"])
    assert torch.equal(state["weights"]["view"], STATE["weights"]["view"])
    assert torch.equal(state["generator"], STATE["generator"])
    assert np.array_equal(state["array"], STATE["array"], equal_nan=True)


def test_replacing_leaves_only_the_new_one(tmp_path):
    save_checkpoint(tmp_path / "best", {"n": 1})
    save_checkpoint(tmp_path / "best", {"n": 2})
    assert load_checkpoint(tmp_path / "best") == {"n": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_crash_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "best", {"n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(tmp_path / "best", {"n": 2})
    assert load_checkpoint(tmp_path / "best") == {"n": 1}
    save_checkpoint(tmp_path / "best", {"n": 3})
    assert load_checkpoint(tmp_path / "best") == {"n": 3}


def sign(folder):
    """Make the sums right again after files were altered, as somebody hostile would."""
    outer = json.loads((folder / "state.json").read_text())
    for name in ("arrays.npz", "tensors.safetensors"):
        outer["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    canonical = json.dumps(outer["state"], sort_keys=True, separators=(",", ":"))
    outer["sha256"]["state"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / "state.json").write_text(json.dumps(outer))


@pytest.mark.parametrize("name", ["arrays.npz", "state.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_torn_checkpoint_names_the_file(tmp_path, name, damage):
    folder = save_checkpoint(tmp_path / "step_1", STATE)
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x80
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


def test_a_pickle_in_disguise_is_not_run(tmp_path):
    folder = save_checkpoint(tmp_path / "step_1", {"array": np.arange(2)})
    np.savez(folder / "arrays.npz", array=np.array([pickle.dumps], dtype=object))
    sign(folder)
    with pytest.raises(CheckpointError, match="holds objects"):
        load_checkpoint(folder)


def test_another_format_is_named(tmp_path):
    folder = save_checkpoint(tmp_path / "step_1", {})
    outer = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**outer, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(folder)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_checkpoint(tmp_path / "step_5")


def test_what_needs_a_pickle_is_refused(tmp_path):
    with pytest.raises(TypeError, match="learner/fn"):
        save_checkpoint(tmp_path / "step_1", {"learner": {"fn": print}})


def test_pruning_keeps_the_latest_by_number(tmp_path):
    for step in (5, 100, 20, 1000):
        save_checkpoint(tmp_path / f"step_{step}", {})
    prune_checkpoints(tmp_path, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_100", "step_1000"]
    assert len(list(tmp_path.iterdir())) == 2


def test_all_but_the_latest_are_deleted_whatever_was_left_half_deleted(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path / f"step_{step}", {"n": step})
    (tmp_path / ".step_1.gone").mkdir()
    (tmp_path / ".step_1.gone" / "state.json").touch()
    prune_checkpoints(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_3"]


class Crash(BaseException):
    """As a killed process: nobody handles it."""


OPERATIONS = (
    *((Path, name) for name in ("mkdir", "rename", "write_text", "unlink")),
    *((os, name) for name in ("fsync", "rmdir", "unlink")),
    *((checkpoint, "save_file"), (np, "savez"), (shutil, "rmtree")),
)


def crash_at(monkeypatch, operation, half):
    """Crash at the ``operation``-th thing done to the file system: before it, or with it half done."""
    counter = itertools.count()

    def patched(original, name):
        def crashing(*args, **kwargs):
            if next(counter) == operation:
                if half and name == "rmtree":
                    for path in list(Path(args[0]).glob("*.npz")):
                        path.unlink()
                if half and name in ("write_text", "save_file", "savez"):
                    (args[1] if name == "save_file" else args[0]).write_bytes(b"half")
                raise Crash
            return original(*args, **kwargs)

        return crashing

    for owner, name in OPERATIONS:
        monkeypatch.setattr(owner, name, patched(getattr(owner, name), name))
    return counter


@pytest.mark.parametrize("half", [False, True])
def test_a_crash_at_any_moment_of_saving_leaves_the_old_one_or_the_new_one(tmp_path, half):
    states = [{"n": n, "a": np.full(3, n), "t": torch.full((2,), float(n))} for n in (1, 2, 3)]
    seen, operation, ended = set(), 0, False
    while not ended:
        folder = tmp_path / str(operation) / "best"
        folder.parent.mkdir()
        save_checkpoint(folder, states[0])
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, operation, half)
            try:
                save_checkpoint(folder, states[1])
                ended = True
            except Crash:
                pass
        found = load_checkpoint(folder)
        assert found["a"].tolist() == [found["n"]] * 3
        seen.add(found["n"])
        tidy_checkpoints(folder.parent, "best")
        assert load_checkpoint(folder)["n"] == found["n"]
        assert [path.name for path in folder.parent.iterdir()] == ["best"]
        save_checkpoint(folder, states[2])
        assert load_checkpoint(folder)["n"] == 3
        operation += 1
    assert operation > 10
    assert seen == {1, 2}


def test_a_crash_at_any_moment_of_pruning_leaves_whole_ones(tmp_path):
    operation, ended = 0, False
    while not ended:
        folder = tmp_path / str(operation)
        folder.mkdir()
        for step in (1, 2, 3, 4):
            save_checkpoint(folder / f"step_{step}", {"n": step})
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, operation, half=True)
            try:
                prune_checkpoints(folder, keep=2)
                ended = True
            except Crash:
                pass
        for path in list_checkpoints(folder):
            assert load_checkpoint(path)["n"] == int(path.name[5:])
        assert load_last(folder)[0].name == "step_4"
        tidy_checkpoints(folder, "step_*")
        assert not list(folder.glob(".*"))
        operation += 1
    assert operation > 4


def test_every_cut_and_every_flipped_byte_is_noticed(tmp_path):
    folder = save_checkpoint(tmp_path / "step_1", STATE)
    chance = random.Random(4)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for length in [0, 1, *(chance.randrange(len(whole)) for _ in range(20))]:
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError):
                load_checkpoint(folder)
        for _ in range(80):
            at, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            try:
                state = load_checkpoint(folder)
            except CheckpointError:
                continue
            assert state["counters"] == STATE["counters"]  # blanks between things, and the like
            assert torch.equal(state["weights"]["a.b"], STATE["weights"]["a.b"])
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "null",
            "[]",
            "5",
            '"x"',
            "{}",
            '{"format": 3}',
            '{"format": 3, "sha256": 1, "state": {}}',
            "[" * 200_000,
        ),
        *('{"format": 3, "sha256": {"state": null}, "state": {}}', '{"format": "\\u0000", "sha256": {}, "state": 1}'),
        *("9" * 100_000, '{"format": [2], "sha256": {}, "state": ' + "[" * 900 + "]" * 900 + "}"),
    ],
)
def test_any_text_for_a_state_is_a_clear_error(tmp_path, text):
    folder = save_checkpoint(tmp_path / "step_1", STATE)
    (folder / "state.json").write_text(text)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "tree",
    [[], 3, None, {"x": {"$tensor": "gone"}}, {"x": {"$array": ["a"]}}, {"x": {"$array": {"y": 1}}}],
)
def test_a_signed_state_that_leads_nowhere(tmp_path, tree):
    folder = save_checkpoint(tmp_path / "step_1", STATE)
    outer = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**outer, "state": tree}))
    sign(folder)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def npy(shape, dtype="<f8", content=b""):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def zipped(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("members", "compression", "words"),
    [
        ([("a.npy", npy((1 << 50,)))], zipfile.ZIP_STORED, "claims to be float64"),
        ([("a.npy", npy((1 << 40, 1 << 40)))], zipfile.ZIP_STORED, "claims to be"),
        ([("a.npy", npy((-1,)))], zipfile.ZIP_STORED, "claims to be"),
        ([("a.npy", npy((1,), "|V2000000000"))], zipfile.ZIP_STORED, "claims to be"),
        ([("a.npy", npy((1,), "|O", b"\x80\x04N."))], zipfile.ZIP_STORED, "holds objects"),
        ([("a.npy", npy((1 << 20,), content=bytes(8 << 20)))], zipfile.ZIP_DEFLATED, "claims to hold more"),
        ([("a.npy", npy((1,), content=bytes(8)))], zipfile.ZIP_DEFLATED, "compressed"),
        ([("a.npy", npy((1,), content=bytes(8)))] * 2, zipfile.ZIP_STORED, "twice"),
        ([("../../a.npy", npy((1,), content=bytes(8)))], zipfile.ZIP_STORED, "KeyError"),
        ([("a.npy", b"MZ")], zipfile.ZIP_STORED, "magic"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_arrays_allocate_nothing(tmp_path, members, compression, words):
    folder = save_checkpoint(tmp_path / "step_1", {"a": np.zeros(1)})
    zipped(folder / "arrays.npz", members, compression)
    sign(folder)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(folder)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert not (tmp_path.parent / "a.npy").exists()


@pytest.mark.parametrize(
    "header",
    [
        {"t": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
        {"t": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 8]}},
        {"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}},
        {"t": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"t": {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]}},
        {"t": 3},
        [],
    ],
)
def test_hostile_tensors_allocate_nothing(tmp_path, header):
    folder = save_checkpoint(tmp_path / "step_1", {"t": torch.zeros(2)})
    text = json.dumps(header).encode()
    (folder / "tensors.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    sign(folder)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)
    (folder / "tensors.safetensors").write_bytes((1 << 60).to_bytes(8, "little"))
    sign(folder)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["arrays.npz", "state.json", "tensors.safetensors"])
def test_pipes_and_devices_do_not_hang(tmp_path, name):
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        folder = save_checkpoint(tmp_path / "step_1", STATE)
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(CheckpointError, match="missing"):
            load_checkpoint(folder)


def test_the_last_whole_one_is_found_and_newer_formats_are_not_passed_over(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path / f"step_{step}", {"n": step})
    (tmp_path / "step_3" / "arrays.npz").write_bytes(b"")
    path, state, torn = load_last(tmp_path)
    assert (path.name, state) == ("step_2", {"n": 2})
    assert ["step_3" in problem for problem in torn] == [True]
    assert load_last(tmp_path, lambda state: state["n"] == 1)[0].name == "step_1"
    assert load_last(tmp_path, lambda state: False)[0].name == "step_2"
    outer = json.loads((tmp_path / "step_3" / "state.json").read_text())
    (tmp_path / "step_3" / "state.json").write_text(json.dumps({**outer, "format": 99}))
    with pytest.raises(CheckpointError, match=r"format 99.*Use the version"):
        load_last(tmp_path)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_last(tmp_path / "nowhere")


def test_networks_that_the_weights_cannot_fill_are_not_built(tmp_path):
    envs = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")])
    learner = learner_for(envs, network={"hidden": [8]})
    state = {
        "algorithm": learner.config.model_dump(),
        "network": {"hidden": [8]},
        "observation_space": space_to_state(envs.single_observation_space),
        "action_space": space_to_state(envs.single_action_space),
        "learner": learner.state_dict(),
    }
    assert weights_digest(_policy_of(state)) == weights_digest(learner.policy)
    huge = {"kind": "Discrete", "n": 1 << 40, "start": 0}
    for change in (
        {"network": {"hidden": [1 << 20, 1 << 20]}},
        {"network": {"hidden": [1 << 40]}},
        {"observation_space": huge},
        {"action_space": huge},
        {"action_space": {"kind": "MultiBinary", "n": 1 << 40}},
    ):
        with pytest.raises(CheckpointError, match=r"would need|no policy"):
            _policy_of({**state, **change})
    with pytest.raises(
        CheckpointError, match=r"policy/trunk.weight0 is torch.float32 \(8, 4\), this run's is .*\(9, 4\)"
    ):
        _policy_of({**state, "network": {"hidden": [9]}})
