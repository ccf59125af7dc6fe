"""``rlbridge evaluate --stream``: what a program that reads along is told, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlbridge.cli import app
from tests.conftest import ROOT
from tests.exported import NO_TORCH

SECONDS = 60


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A short run on CartPole-v1."""
    folder = tmp_path_factory.mktemp("runs")
    settings = ["algorithm.total_steps=512", "algorithm.rollout_steps=64", "env.num_envs=2", "run.tensorboard=false"]
    rlbridge("train", *settings, "run.name=r", f"run.dir={folder}", "--quiet").communicate(timeout=SECONDS)
    return folder / "r"


def rlbridge(*arguments, code="from rlbridge.cli import main\nmain()"):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def streaming(run_dir):
    """Starts ``evaluate --stream`` on the run; ends it by its id."""
    started = []

    def start(*arguments):
        started.append(rlbridge("evaluate", run_dir, "--stream", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def test_a_run_and_its_policy_file_stream_the_same_episodes(run_dir, streaming, serve_process):
    _, (url,) = serve_process("CartPole-v1", "--bind", "grpc://127.0.0.1:0")
    local = streaming("--episodes", 3)
    code = NO_TORCH + "from rlbridge.cli import main\nmain()"
    file = ["evaluate", run_dir / "policy.onnx", "--stream", "--episodes", 3, "--env", url, "--frames", 5]
    remote = rlbridge(*file, code=code)
    texts = [process.communicate(timeout=SECONDS)[0] for process in (local, remote)]
    here, there = ([json.loads(line) for line in text.splitlines()] for text in texts)
    assert [line["episode"] for line in here] == [1, 2, 3]
    assert all(line["return"] == line["length"] > 0 for line in here)
    assert [line for line in there if "length" in line] == here
    assert any("frame" in line for line in there)


def test_sigterm_ends_it_cleanly(streaming):
    process = streaming("--endless")
    first = json.loads(process.stdout.readline())
    assert first["episode"] == 1
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (143, "")
    assert all(json.loads(line)["length"] > 0 for line in rest.splitlines())  # the last line is whole, too


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_reader_that_stops_reading_holds_it_up_and_it_does_not_grow(streaming):
    process = streaming("--endless", "--frames", 30)
    process.stdout.readline()
    before, until = resident(process.pid), time.monotonic() + SECONDS
    while True:  # until it does nothing more: it waits for its reader
        worked = worked_so_far(process.pid)
        time.sleep(0.5)
        if worked_so_far(process.pid) == worked:
            break
        assert time.monotonic() < until
    assert resident(process.pid) < before + 32 * 1024
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143


def resident(pid):
    """Memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def worked_so_far(pid):
    """Time on a processor, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.skipif(sys.platform == "win32", reason="there it ends with the next line")
def test_without_a_reader_it_ends_even_in_the_middle_of_a_step(streaming, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Slow(CartPoleEnv):\n"
        "    def step(self, action):\n"
        f"        open({str(tmp_path / 'stepping')!r}, 'w').close()\n"
        "        time.sleep(600)\n"
    )
    process = streaming("--endless", "--env", f"{tmp_path}/slow.py:Slow")
    until = time.monotonic() + SECONDS
    while not (tmp_path / "stepping").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.stdout.close()
    assert process.wait(10) == 143


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--endless"], 2, "belong to --stream"),
        (["--frames", "5"], 2, "belong to --stream"),
        (["--stream", "--json"], 2, "does not go with --json"),
        (["--stream", "--gif", "a.gif"], 2, "does not go with --json or --gif"),
    ],
)
def test_options_that_do_not_go_together(run_dir, arguments, code, words):
    done = CliRunner().invoke(app, ["evaluate", str(run_dir), *arguments])
    assert (done.exit_code, words in " ".join(done.stderr.split())) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--env", "grpc://127.0.0.1:1"], 3, "nothing answers at grpc://127.0.0.1:1"),
        (["--checkpoint", "77"], 1, "step_77 holds no checkpoint"),
    ],
)
def test_what_fails_is_said_once_and_in_the_exit_code(streaming, arguments, code, words):
    process = streaming(*arguments)
    text, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, text) == (code, "")
    assert words in " ".join(errors.split())
