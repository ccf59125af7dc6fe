"""What the source must never do, whoever writes it: unpickle, evaluate text, load YAML or tensors unsafely."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("torch", "load"), ("torch", "save"), ("numpy", "load"), ("np", "load"), ("yaml", "unsafe_load")}
FILES = sorted([*ROOT.glob("rlbridge/**/*.py"), *ROOT.glob("env_servers/**/*.py")])


def violations(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(node.func.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            pickles = any(keyword.arg == "allow_pickle" for keyword in node.keywords)
            refuses = any(
                keyword.arg == "allow_pickle"
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is False
                for keyword in node.keywords
            )
            if (pickles or (owner, node.func.attr) in FORBIDDEN_METHODS) and not refuses:
                found.append(f"{owner}.{node.func.attr}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval(path):
    assert violations(ast.parse(path.read_text())) == []


def test_the_test_sees_what_it_should():
    bad = "import pickle\nfrom dill import x\neval('1')\nnp.load('f')\nnp.load('f', allow_pickle=True)"
    assert len(violations(ast.parse(bad))) == 5
    assert violations(ast.parse("import numpy as np\nnp.load('f', allow_pickle=False)")) == []
