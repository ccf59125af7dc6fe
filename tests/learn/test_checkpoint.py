"""Checkpoints come back bit for bit, or say why not."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import torch

from rlbridge.learn.checkpoint import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)

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


def sign(folder, state=None):
    """Make the sums right again after files were altered, as somebody hostile would; or put in another state."""
    outer = json.loads((folder / "state.json").read_text())
    outer["state"] = outer["state"] if state is None else state
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
