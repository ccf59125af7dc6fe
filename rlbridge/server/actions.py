"""Actions, checked before they reach an environment: the server is the one place that no client can skip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from rlbridge.gymnasium_versions import multi_discrete_start
from rlbridge.wire import BlockCodec
from rlbridge.wire.blocks import FixedLeaf, VariableLeaf
from rlbridge.wire.errors import InvalidAction, WireError
from rlbridge.wire.tensors import Array

ActionBounds = Literal["refuse", "clip", "ignore", "finite"]


class ActionReader:
    """Unpacks actions and holds them against the action space.

    Args:
        codec: of the action space of one environment.
        bounds: what happens to numbers outside a Box: ``refuse`` them, ``clip`` them, or ``ignore`` the bounds as
            most of Gymnasium does; ``finite`` ignores them, too, but refuses infinities. NaN, and integers outside a
            discrete space, are always refused.
    """

    def __init__(self, codec: BlockCodec, bounds: ActionBounds = "refuse") -> None:
        self._codec = codec
        self._checks = [_LeafCheck(leaf, bounds) for leaf in codec.leaves]
        self._discrete = _DiscreteAction(codec.space) if isinstance(codec.space, spaces.Discrete) else None

    def read(self, blocks: Sequence[bytes]) -> Any:
        """One action, writable.

        Raises:
            InvalidAction: it does not fit the space; the message names the leaf, the element and the range.
        """
        if self._discrete is not None and len(blocks) == 1:
            actions = self._discrete(blocks[0], 1)
            if actions is not None:
                return actions[0]
        return self._codec.unpack(self._checked(blocks, 1))

    def read_rows(self, blocks: Sequence[bytes], n: int) -> list[Any]:
        """The actions of a batch, one a row, writable."""
        if self._discrete is not None and len(blocks) == 1:
            actions = self._discrete(blocks[0], n)
            if actions is not None:
                return actions
        return self._codec.unstack(self._checked(blocks, n), n)

    def read_batch(self, blocks: Sequence[bytes], n: int) -> Any:
        """The actions of a batch in the form of Gymnasium's vector environments, writable."""
        return self._codec.unpack_batch(self._checked(blocks, n), n)

    def _checked(self, blocks: Sequence[bytes], n: int) -> list[Any]:
        if len(blocks) != len(self._checks):
            raise InvalidAction(
                f"the action has {len(blocks)} blocks, the action space {self._codec.space} takes {len(self._checks)}",
                expected=len(self._checks),
                got=len(blocks),
            )
        return [check(block, n) for check, block in zip(self._checks, blocks, strict=True)]


class _LeafCheck:
    """Checks one leaf's block and returns a writable copy of it (environments may change their action in place)."""

    def __init__(self, leaf: FixedLeaf | VariableLeaf, bounds: ActionBounds) -> None:
        self._leaf = leaf
        self._where = f"action leaf {leaf.path!r}" if leaf.path else "action"
        self._is_box = isinstance(leaf.space, spaces.Box)
        self._bounds = bounds if self._is_box else "refuse"
        if isinstance(leaf, FixedLeaf):
            self._low, self._high = _limits(leaf)

    def __call__(self, block: bytes, n: int) -> Any:
        if isinstance(self._leaf, VariableLeaf):
            self._check_variable(self._leaf, block, n)
            return block
        leaf = self._leaf
        if len(block) != n * leaf.nbytes:
            shape = [n, *leaf.shape]
            raise InvalidAction(
                f"{self._where}: {len(block)} bytes where {leaf.dtype} {shape} takes {n * leaf.nbytes}. "
                f"Send {leaf.dtype} in the shape of the action space, {leaf.space}.",
                leaf=leaf.path,
                expected=n * leaf.nbytes,
                got=len(block),
            )
        copy = bytearray(block)
        array = np.frombuffer(copy, leaf.dtype).reshape(n, *leaf.shape)
        inside = (array >= self._low) & (array <= self._high)  # False for NaN
        if inside.all():
            return copy
        lost = np.isinf(array) if self._bounds == "finite" else np.isnan(array)
        if self._bounds != "refuse" and not np.isnan(array).any() and not lost.any():
            if self._bounds == "clip":
                np.clip(array, self._low, self._high, out=array)
            return copy
        raise self._outside(array, np.argwhere(~inside)[0].tolist(), n)

    def _outside(self, array: Array, at: list[int], n: int) -> InvalidAction:
        row, element = at[0], at[1:]
        value = array[tuple(at)]
        low = np.broadcast_to(self._low, array.shape)[tuple(at)]
        high = np.broadcast_to(self._high, array.shape)[tuple(at)]
        place = (f", row {row}" if n > 1 else "") + (f", element {element}" if element else "")
        problem = "is not a number" if np.isnan(value) else f"is outside [{low}, {high}]"
        advice = " Clip actions to the action space, or let the server do it: serve with --action-bounds clip."
        return InvalidAction(
            f"{self._where}{place}: {value} {problem}; nothing was stepped."
            + (advice if self._is_box and not np.isnan(value) else ""),
            leaf=self._leaf.path,
            row=row,
            index=element,
            value=value,
            low=low,
            high=high,
        )

    def _check_variable(self, leaf: VariableLeaf, block: bytes, n: int) -> None:
        try:
            samples = leaf.unpack_batch(block, n, copy=False)
        except WireError as error:
            raise InvalidAction(f"{self._where}: {error}", **error.details) from error
        for row, sample in enumerate(samples):
            if not leaf.space.contains(sample):
                raise InvalidAction(
                    f"{self._where}, row {row}: {str(sample)[:200]} is not in {leaf.space}; nothing was stepped.",
                    leaf=leaf.path,
                    row=row,
                )


class _DiscreteAction:
    """The commonest action, an integer a row, checked without numpy's arithmetic (a fifth of the time)."""

    def __init__(self, space: spaces.Discrete) -> None:
        self._dtype = np.dtype(space.dtype).newbyteorder("<")
        self._first, self._last = int(space.start), int(space.start) + int(space.n) - 1

    def __call__(self, block: bytes, n: int) -> list[Any] | None:
        """The actions, or None where there is something wrong with them: then the general way finds the words."""
        if len(block) != n * self._dtype.itemsize:
            return None
        values = np.frombuffer(block, self._dtype)
        numbers = values.tolist()
        return list(values) if self._first <= min(numbers) and max(numbers) <= self._last else None


def _limits(leaf: FixedLeaf) -> tuple[Any, Any]:
    space = leaf.space
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        start = multi_discrete_start(space)
        return start, start + space.nvec - 1
    if isinstance(space, spaces.MultiBinary):
        return 0, 1
    assert isinstance(space, spaces.Box)
    return space.low, space.high
