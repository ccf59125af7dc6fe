"""The generated stubs are those of protos/, and the contract passes its linter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "rlbridge" / "v1"
TOOLS = ROOT / ".stubs"


def tools_work() -> bool:
    python = TOOLS / "bin" / "python"
    return python.exists() and subprocess.run([python, "-c", "import grpc_tools"], capture_output=True).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="the script is for a POSIX shell")
def test_the_stubs_are_what_the_protos_say(tmp_path):
    had_tools, had_folder = tools_work(), TOOLS.exists()
    done = subprocess.run(["bash", ROOT / "scripts" / "make_stubs.sh", tmp_path], capture_output=True, text=True)
    if done.returncode and not had_tools and not tools_work():
        if not had_folder:
            shutil.rmtree(TOOLS, ignore_errors=True)  # half an environment would fail the next run
        pytest.skip(f"grpcio-tools cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text() for path in (tmp_path / "rlbridge" / "v1").iterdir()}
    kept = {path.name: path.read_text() for path in STUBS.glob("*_pb2*.py*")}
    assert len(made) >= 8
    assert sorted(made) == sorted(kept)
    assert [name for name in made if made[name] != kept[name]] == []


def test_the_contract_passes_buf_lint():
    buf = shutil.which("buf", path=Path(sys.executable).parent)
    if buf is None:
        pytest.skip("buf is not installed beside this Python (pip install buf-bin)")
    done = subprocess.run([buf, "lint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
