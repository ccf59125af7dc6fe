"""The state of environments in this process, as plain data that a checkpoint can hold. Nothing is pickled.

An environment's state is taken to be what its attributes hold: numbers, text, arrays, random generators, and lists,
tuples, dicts and deques of these (a few thousand values at most, outside arrays). Whatever else could be state (a
physics engine's world, a connection, an object of unknown kind) means that the environment cannot be restored. State
kept where no attribute leads (class attributes, modules, the global generators) cannot be seen.
"""

from __future__ import annotations

import random
import types
from collections import deque
from collections.abc import Iterator, Sequence
from logging import Logger
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import PassiveEnvChecker
from numpy.typing import NDArray

from rlbridge.learn.split_envs import Envs, parts_of

_BIT_GENERATORS = {"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}
_SCALARS = "biufU"  # kinds of numpy numbers and text
_PLAIN = {type(None), bool, int, float, str}
_INERT = (type, types.ModuleType, EnvSpec, Logger, np.ufunc)  # hold no state of an episode
_DEPTH = 32
_MOST = 5_000  # values in one environment's lists and dicts; a checkpoint with many more would take seconds


class _Opaque(Exception):
    """Something that could be state and cannot be written down."""


def capture(envs: Envs) -> list[Any] | None:
    """The environments' states, as nested lists and dicts of arrays, numbers and text; None if they cannot be restored.

    Args:
        envs: any vector environment, whole or in parts; only SyncVectorEnvs in SAME_STEP mode can be restored.
    """
    try:
        return _capture(envs)
    except _Opaque:
        return None


def why_not(envs: Envs) -> str | None:
    """What keeps :func:`capture` from working, in words; None if it works."""
    try:
        _capture(envs)
    except _Opaque as obstacle:
        return str(obstacle)
    return None


def restore(envs: Envs, state: list[Any]) -> bool:
    """Bring environments that have been reset into the captured state.

    Returns:
        False if these are other environments than those captured; they are to be reset again then.

    Raises:
        ValueError, KeyError, TypeError: the state is malformed.
    """
    batches = parts_of(envs)
    if any(type(batch) is not SyncVectorEnv for batch in batches) or envs.num_envs != len(state):
        return False
    found: list[tuple[Any, dict[str, Any], set[str]]] = []
    used: set[int] = set()
    for env, parts in zip(_singles(batches), state, strict=True):
        ours = list(_parts(env))
        if [_name(part) for part in ours] != [part["class"] for part in parts]:
            return False
        for part, saved in zip(ours, parts, strict=True):
            others = set(saved["others"])
            if not others <= set(vars(part)):
                return False
            data = {name: _value(node, vars(part).get(name), used) for name, node in saved["data"].items()}
            for name, states in saved["spaces"].items():
                _restore_space(_spaces(part)[name], states)
            found.append((part, data, others))
    for part, data, others in found:
        attributes = vars(part)
        for name in set(attributes) - set(data) - others:
            del attributes[name]
        attributes.update(data)
    return True


def _capture(envs: Envs) -> list[Any]:
    batches = parts_of(envs)
    for batch in batches:
        if type(batch) is not SyncVectorEnv or batch.autoreset_mode != AutoresetMode.SAME_STEP:
            raise _Opaque(f"only environments in this process can be, not those of a {type(batch).__name__}")
    seen = _Seen()
    state = []
    for env in _singles(batches):
        parts, seen.left = list(_parts(env)), _MOST
        state.append([_part_state(part, parts, seen) for part in parts])
    seen.refuse_overlaps()
    return state


def _singles(batches: Sequence[Any]) -> list[Any]:
    return [env for batch in batches for env in batch.envs]


class _Seen:
    """Mutable things met so far: what two attributes share, one value each would no longer be."""

    def __init__(self) -> None:
        self.left = _MOST
        self.objects: set[int] = set()
        self.arrays: list[tuple[int, int, str]] = []

    def once(self, value: Any, where: str) -> None:
        if id(value) in self.objects:
            raise _Opaque(f"{where} is shared with another attribute")
        self.objects.add(id(value))

    def memory(self, array: NDArray[Any], where: str) -> None:
        if array.nbytes:
            start = end = array.__array_interface__["data"][0]
            for count, stride in zip(array.shape, array.strides, strict=True):
                start, end = start + min(0, (count - 1) * stride), end + max(0, (count - 1) * stride)
            self.arrays.append((start, end + array.itemsize, where))

    def refuse_overlaps(self) -> None:
        self.arrays.sort()
        for (_, end, _), (start, _, where) in zip(self.arrays, self.arrays[1:], strict=False):
            if start < end:
                raise _Opaque(f"{where} shares its memory with another attribute")


def _parts(env: Any) -> Iterator[Any]:
    """The environment and those that it wraps, from the outside in."""
    parts, met = [env], {id(env)}
    for part in parts:
        yield part
        for value in vars(part).values():
            if isinstance(value, gymnasium.Env) and id(value) not in met:
                met.add(id(value))
                parts.append(value)


def _name(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _part_state(part: Any, parts: list[Any], seen: _Seen) -> dict[str, Any]:
    hidden = any(cls.__dict__.get("__slots__") for cls in type(part).__mro__)
    if hidden or isinstance(part, (dict, list, set, tuple, deque, np.ndarray)):
        raise _Opaque(f"{_name(part)} keeps state outside its attributes")
    data, others = {}, []
    for name, value in vars(part).items():
        where = f"{type(part).__name__}.{name}"
        if type(value) in _PLAIN:
            data[name] = value
        elif _is_inert(part, name, value) or _is_stateless_function(value, parts):
            others.append(name)
        else:
            data[name] = _node(value, where, seen, _DEPTH)
    spaces = {name: _space_state(space) for name, space in _spaces(part).items()}
    return {"class": _name(part), "data": data, "others": others, "spaces": spaces}


def _is_inert(part: Any, name: str, value: Any) -> bool:
    if isinstance(value, (gymnasium.Env, gymnasium.Space, *_INERT)) or name in ("metadata", "_metadata"):
        return True
    if name == "_saved_kwargs" and isinstance(part, RecordConstructorArgs):
        return True
    if name == "_previous_data" and isinstance(part, PassiveEnvChecker):  # what its warnings compare with
        return True
    return type(value).__module__.partition(".")[0] == "pygame"


def _is_stateless_function(value: Any, parts: list[Any]) -> bool:
    if isinstance(value, (types.MethodType, types.BuiltinFunctionType)):
        owner = value.__self__
        return owner is None or isinstance(owner, _INERT) or any(owner is part for part in parts)
    if not isinstance(value, types.FunctionType):
        return False
    for cell in value.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # nothing in it yet
            continue
        inert = type(held) in _PLAIN or isinstance(held, (gymnasium.Space, types.FunctionType, *_INERT))
        if not inert and not any(held is part for part in parts):
            return False
    return True


def _node(value: Any, where: str, seen: _Seen, depth: int) -> Any:
    seen.left -= 1
    if depth == 0 or seen.left < 0:
        raise _Opaque(f"{where} holds more than {_MOST:,} values, or is nested more than {_DEPTH} deep")
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        return {"tuple": [_node(item, where, seen, depth - 1) for item in value]}
    if isinstance(value, np.generic) and value.dtype.kind in _SCALARS and not isinstance(value, np.longdouble):
        return {"scalar": value.item(), "dtype": value.dtype.str}
    if kind is np.ndarray and not value.dtype.hasobject:
        seen.memory(value, where)
        return {"array": value.copy(order="K")}
    if kind in (list, deque, dict, np.random.Generator, np.random.RandomState, random.Random):
        seen.once(value, where)
    if kind is list:
        return {"list": [_node(item, where, seen, depth - 1) for item in value]}
    if kind is deque:
        return {"deque": [_node(item, where, seen, depth - 1) for item in value], "most": value.maxlen}
    if kind is dict:
        return {"dict": [[_node(part, where, seen, depth - 1) for part in pair] for pair in value.items()]}
    if kind is np.random.Generator and type(value.bit_generator).__name__ in _BIT_GENERATORS:
        return {"generator": _node(value.bit_generator.state, where, _Seen(), _DEPTH)}
    if kind is np.random.RandomState:
        return {"random_state": _node(value.get_state(legacy=False), where, _Seen(), _DEPTH)}
    if kind is random.Random:
        return {"random": _node(value.getstate(), where, _Seen(), _DEPTH)}
    raise _Opaque(f"{where} is or holds a {kind.__module__}.{kind.__qualname__}, which may be state")


def _value(node: Any, present: Any, used: set[int]) -> Any:
    """What :func:`_node` wrote down. ``present`` is what the attribute holds now; a generator is set where it is."""
    if type(node) in _PLAIN:
        return node
    if not isinstance(node, dict):
        raise ValueError(f"no value is written as {node!r}")
    kind = next(iter(node))
    content = node[kind]
    if kind == "tuple":
        return tuple(_value(item, None, used) for item in content)
    if kind == "list":
        return [_value(item, None, used) for item in content]
    if kind == "deque":
        return deque((_value(item, None, used) for item in content), node["most"])
    if kind == "dict":
        return {_value(key, None, used): _value(part, None, used) for key, part in content}
    if kind == "scalar" and np.dtype(node["dtype"]).kind in _SCALARS:
        return np.dtype(node["dtype"]).type(content)
    if kind == "array":
        return np.array(content, order="K")
    if kind == "generator":
        state = _value(content, None, used)
        name = state["bit_generator"]
        if name not in _BIT_GENERATORS:
            raise ValueError(f"no generator is called {name!r}")
        there = type(present) is np.random.Generator and type(present.bit_generator).__name__ == name
        generator = present if there and id(present) not in used else np.random.Generator(getattr(np.random, name)())
        generator.bit_generator.state = state
        used.add(id(generator))
        return generator
    if kind == "random_state":
        old = np.random.RandomState()
        old.set_state(_value(content, None, used))
        return old
    if kind == "random":
        own = random.Random()
        own.setstate(_value(content, None, used))
        return own
    raise ValueError(f"no value is written as {kind!r}")


def _spaces(part: Any) -> dict[str, gymnasium.Space[Any]]:
    """The spaces that the environment has as attributes, its own or its class's; it may draw from them."""
    names = [*vars(part), "observation_space", "action_space"]
    held = {name: vars(part)[name] if name in vars(part) else getattr(type(part), name, None) for name in names}
    return {name: value for name, value in held.items() if isinstance(value, gymnasium.Space)}


def _inner_spaces(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    yield space
    for value in vars(space).values():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else [value]
        for part in inner:
            if isinstance(part, gymnasium.Space):
                yield from _inner_spaces(part)


def _space_state(space: gymnasium.Space[Any]) -> list[Any]:
    """The states of the generators of a space and those inside it; None where none has been made yet."""
    generators = [part._np_random for part in _inner_spaces(space)]
    return [None if g is None else _node(g, "a space", _Seen(), _DEPTH) for g in generators]


def _restore_space(space: gymnasium.Space[Any], states: list[Any]) -> None:
    for part, state in zip(_inner_spaces(space), states, strict=True):
        generator: Any = None if state is None else _value(state, part._np_random, set())
        part._np_random = generator
