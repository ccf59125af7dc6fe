"""What docs/drivers.md shows loads as printed; tests/test_docs.py runs its commands that need no device."""

from __future__ import annotations

import pytest

from rlbridge.config import load_config
from rlbridge.server.catalog import load_catalog
from tests.conftest import ROOT
from tests.test_docs import BLOCK

PAGE = (ROOT / "docs/drivers.md").read_text()
FILES = {file: text for _, file, text in BLOCK.findall(PAGE) if file}


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith("serve.yaml")])
def test_its_serve_yaml_makes_an_environment(tmp_path, file):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "fmu/Tank.fmu").touch()
    (offer,) = load_catalog(str(tmp_path / file))
    env = offer.check()
    assert env.action_space.shape is not None
    env.close()


def test_its_run_file_is_one_and_that_of_the_example(tmp_path):
    (tmp_path / "run.yaml").write_text(FILES["run.yaml"])
    assert load_config(tmp_path / "run.yaml").env == load_config(ROOT / "examples/legacy_http/run.yaml").env
