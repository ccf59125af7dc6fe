"""Every command and every piece of Python on these pages runs as printed, ports apart."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = {
    "README.md": {"serve", "inspect", "train", "evaluate", "python", "studio"},
    "docs/studio.md": {"studio"},
    "docs/quickstart.md": {"serve", "inspect", "train", "evaluate", "python"},
    "docs/policies.md": {"train", "export", "evaluate", "python"},
    "docs/edge.md": {"serve", "train", "python"},
    "docs/resume.md": {"train", "resume"},
    "docs/plants.md": {"serve", "train", "plant", "audit", "python"},
    "docs/drivers.md": {"serve", "train"},
    "docs/recordings.md": {"serve", "recording", "python"},
}
"""The pages, and what is at least to be found on each."""
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(page, tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ports: dict[str, str] = {}
    servers: list[subprocess.Popen] = []
    ran = []

    def located(text: str) -> str:
        for printed, real in ports.items():
            text = text.replace(printed, real)
        return text

    try:
        for language, file, text in BLOCK.findall((ROOT / page).read_text()):
            if file:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text(text)
            elif language == "python":
                _run([sys.executable, "-c", located(text)], tmp_path, environment)
                ran.append("python")
            elif language == "sh" and text.startswith("curl"):
                answers = _run(["bash", "-euo", "pipefail", "-c", located(text)], tmp_path, environment)
                assert '"reward": 1.0, "terminated": false' in answers
                assert "rlbridge_environment_steps_total 1.0" in answers
                ran.append("curl")
            elif language == "sh":
                for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
                    words = shlex.split(located(line))
                    if words[1:2] in (["serve"], ["studio"]):  # they go on, and say where
                        servers.append(_serve(words, tmp_path, environment, ports))
                    elif words[0] != "pip":  # tests/test_base_install.py installs
                        _run(words, tmp_path, environment)
                    ran.append(words[1])
    finally:
        for server in servers:
            server.terminate()
            server.wait(10)
            server.stdout.close()
    assert PAGES[page] <= set(ran)


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _serve(words: list[str], folder: Path, environment: dict[str, str], ports: dict[str, str]) -> subprocess.Popen:
    """Start a server on free ports, and remember which printed addresses these stand for."""
    printed = [word for word in words if "://" in word]
    words = [_free(word, folder) if word in printed else word for word in words]
    server = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    ports.update((address, server.stdout.readline().split()[1]) for address in printed)
    return server


def _free(address: str, folder: Path) -> str:
    """An address like that one, which nobody else uses."""
    if address.startswith("shm://"):
        return f"shm://{folder}/{Path(address).name}"
    return f"{address.rpartition(':')[0]}:0"


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("env_servers/*/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
