"""``pip install`` without extras: small, without torch, and it serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlbridge
from tests.conftest import ROOT
from tests.trajectory import single_hash


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The bin folder of a virtual environment that holds rlbridge and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", ROOT]
    done = subprocess.run(install, capture_output=True, text=True, timeout=170)
    if done.returncode and ("No matching distribution" in done.stderr or "Connection" in done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(command: list, **options) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **options)


def test_it_has_no_torch_and_importing_it_pulls_in_neither_torch_nor_the_learning_side(base):
    code = (
        "import importlib.util, json, sys, rlbridge, rlbridge.client, rlbridge.server, rlbridge.config\n"
        "heavy = any(map(importlib.util.find_spec, ('torch', 'onnx', 'onnxruntime', 'PIL')))\n"
        "print(json.dumps([heavy, 'rlbridge.learn' in sys.modules]))"
    )
    assert json.loads(run([base / "python", "-c", code], cwd=base).stdout) == [False, False]


def test_it_serves_and_the_numbers_are_the_same(base):
    process = subprocess.Popen(
        [base / "rlbridge", "serve", "CartPole-v1", "--bind", "grpc://127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().split()[1]
        env = rlbridge.make(url)
        assert single_hash(env, 300, seed=0) == single_hash(rlbridge.make("CartPole-v1"), 300, seed=0)
        env.close()
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


def test_training_names_the_pip_command(base, tmp_path):
    done = run([base / "rlbridge", "train", "env.target=CartPole-v1"], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("rlbridge: training needs torch: pip install 'rlbridge-toolkit[train]'")
    done = run([base / "python", "-c", "import rlbridge; rlbridge.train({})"], cwd=tmp_path)
    assert "pip install 'rlbridge-toolkit[train]'" in done.stderr


@pytest.mark.parametrize(
    ("driver", "extra"), [("opcua", "opcua"), ("modbus", "modbus"), ("fmu", "fmu"), ("simpy", "sim")]
)
def test_a_driver_names_the_pip_command(base, tmp_path, driver, extra):
    (tmp_path / "serve.yaml").write_text(f"driver: {driver}\nsignals: {{a: {{role: observation, low: 0, high: 1}}}}\n")
    done = run([base / "rlbridge", "serve", "serve.yaml"], cwd=tmp_path)
    assert done.returncode == 2
    assert f"pip install 'rlbridge-toolkit[{extra}]'" in done.stderr
