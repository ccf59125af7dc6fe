"""Turn an environment's name into the callable that makes it: the one notion of "factory" both halves share.

A name is a Gymnasium id (``CartPole-v1``, ``package:Id-v0``), ``module:factory``, or ``file.py:factory``;
``gym:CartPole-v1`` is the one of OpenAI's Gym, where that is installed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

Factory = Callable[..., Any]


class UnknownFactory(ValueError):
    """The name does not lead to an environment; the message says where the trail ends."""


def names_parameter(factory: Factory, parameter: str) -> bool:
    """Whether the factory names it: ``**kwargs`` may lead to somebody who does not know it."""
    try:
        return parameter in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def resolve_factory(name: str, folder: Path | None = None) -> Factory:
    """Find the callable behind ``name``; calling it with keyword arguments makes one environment.

    Args:
        name: a Gymnasium id, ``module:factory`` or ``file.py:factory``.
        folder: where a relative ``file.py`` is looked for (default: the working directory).

    Raises:
        UnknownFactory: nothing is registered or importable under that name.
    """
    module_name, colon, attribute = name.rpartition(":")
    if colon and module_name.endswith(".py"):
        return _attribute(_load_file((folder or Path.cwd()) / module_name), attribute, name)
    if name in gymnasium.registry or not colon:
        return _gymnasium_factory(name)
    if attribute.isdigit():
        raise UnknownFactory(f"{name!r} has no scheme; did you mean grpc://{name}?")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UnknownFactory(f"{name!r}: no module {error.name!r}. Is it installed here, or on PYTHONPATH?") from error
    if hasattr(module, attribute):
        return _attribute(module, attribute, name)
    if module_name == "gym":  # OpenAI's, whose ids are not Gymnasium's even where they read the same
        return functools.partial(module.make, attribute)
    # Gymnasium's own "module:Id-v0": the import registered the id.
    return _gymnasium_factory(attribute) if attribute in gymnasium.registry else _attribute(module, attribute, name)


def _gymnasium_factory(env_id: str) -> Factory:
    if env_id.endswith(".py"):
        raise UnknownFactory(f"{env_id!r}: say which environment in the file, as in {env_id}:Name")
    try:
        gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        raise UnknownFactory(
            f"{env_id!r} is not a registered Gymnasium id ({error}). "
            "Give an id, module:factory, file.py:factory, a serve.yaml, or a folder that holds one."
        ) from error
    return functools.partial(gymnasium.make, env_id)


def _attribute(module: Any, attribute: str, name: str) -> Factory:
    factory = getattr(module, attribute, None)
    if not callable(factory):
        public = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise UnknownFactory(
            f"{name!r}: no callable {attribute!r} there. Callables found: {', '.join(public) or 'none'}."
        )
    return factory  # type: ignore[no-any-return]


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise UnknownFactory(f"{str(path)!r} does not exist or is not a file.")
    # A unique module name: two folders may both hold an env.py.
    module_name = f"rlbridge_file_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    sys.path.insert(0, str(path.parent.resolve()))  # so that the file can import its neighbours
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
