"""Every run file of an environment server trains on what that server serves, as its first lines say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import rlbridge
from rlbridge.learn import train

SERVERS = Path(__file__).parents[2] / "env_servers"
RUN_FILES = sorted(path for path in SERVERS.glob("*/*.yaml") if "algorithm" in yaml.safe_load(path.read_text()))


def test_every_server_has_one():
    assert {path.parent for path in RUN_FILES} == {path.parent for path in SERVERS.glob("*/serve.yaml")}


@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_run_file_trains_on_its_server(path, tmp_path):
    target = yaml.safe_load(path.read_text())["env"]["target"]
    assert f"rlbridge serve env_servers/{path.parent.name}`" in path.read_text()
    assert f"rlbridge train env_servers/{path.parent.name}/{path.name}" in path.read_text()
    with rlbridge.serve(str(path.parent), bind="grpc://127.0.0.1:0") as server:
        overrides = [f"env.target={target.replace('grpc://127.0.0.1:50051', server.urls[0])}", "env.num_envs=4"]
        overrides += ["algorithm.total_steps=128", "algorithm.rollout_steps=16", "algorithm.epochs=1"]
        overrides += [f"run.dir={tmp_path}", "run.tensorboard=false", "evaluation.every=0"]
        run = train(path, overrides, progress=False)
    assert (run.dir / "policy.onnx").is_file()
