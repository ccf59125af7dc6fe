"""Small formulas such as ``temperature > 340 and flow < 2``: arithmetic and comparisons, and nothing else of Python."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from rlbridge.nearest import did_you_mean

_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.Pow: np.float_power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # with the number of arguments; 0: any
    "abs": (1, np.abs),
    "min": (0, lambda *values: _fold(np.minimum, values)),
    "max": (0, lambda *values: _fold(np.maximum, values)),
    "sqrt": (1, np.sqrt),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "where": (3, np.where),
}
_LONGEST = 1000
_DEEPEST = 50

_Node = Callable[[Mapping[str, Any], list[Any]], Any]
"""Takes the values, and a list that comparisons with something that is not a number are noted in."""


class ExpressionError(ValueError):
    """The formula is none, or names what is not there; the message shows where."""


class Expression:
    """A formula over named numbers or ``[N]`` arrays of them.

    It knows ``+ - * / **``, comparisons (also ``0 < x < 1``), ``and or not``, numbers, names, and the functions abs,
    min, max, sqrt, exp, log and where(condition, a, b).

    Args:
        text: the formula.
        names: that it may use.
        unknown: what a formula with a comparison is where that compares something that is not a number (0/0, log(-1)):
            a condition under which a plant is protected should then hold (True), one that ends protection should not.

    Raises:
        ExpressionError: see there.
    """

    def __init__(self, text: str, names: Collection[str], unknown: bool = False) -> None:
        self.text = text
        self.names: set[str] = set()
        self._known, self._unknown = names, unknown
        if len(text) > _LONGEST:
            raise ExpressionError(f"the formula has {len(text)} characters, the limit is {_LONGEST}")
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._check_depth(tree.body)
            self._evaluate = self._build(tree.body)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f"{text!r} is not a formula: {error}") from None

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The formula's value: a number or bool, or ``[N]`` of them."""
        lost: list[Any] = []
        with np.errstate(all="ignore"):
            value = self._evaluate(values, lost)
        return np.where(_fold(np.logical_or, lost), self._unknown, value) if lost else value

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def _check_depth(self, root: ast.AST) -> None:
        """Nested deeper, it might be built here and then fail in a step, whose stack is not empty."""
        level, depth = [root], 0
        while level:
            level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
            if depth > _DEEPEST:
                raise ExpressionError(f"{self.text!r}: it is nested deeper than {_DEEPEST} levels")

    def _build(self, node: ast.AST) -> _Node:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            number = float(node.value)  # type: ignore[arg-type]
            return lambda values, lost: number
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _applied(_ARITHMETIC[type(node.op)], self._build(node.left), self._build(node.right))
        if isinstance(node, ast.UnaryOp):
            operand = self._build(node.operand)
            return _applied(np.logical_not if isinstance(node.op, ast.Not) else self._arithmetic(node.op), operand)
        if isinstance(node, ast.BoolOp):
            both = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            parts = [self._build(value) for value in node.values]
            return lambda values, lost: _fold(both, [part(values, lost) for part in parts])
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
            return self._compare(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and node.args:
            return _applied(self._function(node.func.id, len(node.args)), *map(self._build, node.args))
        raise ExpressionError(f"{self.text!r}: {ast.unparse(node)!r} is not allowed. {_ALLOWED}")

    def _arithmetic(self, op: ast.AST) -> Callable[..., Any]:
        if type(op) not in _ARITHMETIC:
            raise ExpressionError(f"{self.text!r}: the operator {type(op).__name__} is not allowed. {_ALLOWED}")
        return _ARITHMETIC[type(op)]

    def _name(self, name: str) -> _Node:
        if name not in self._known:
            meant = did_you_mean(name, self._known, f"known here: {', '.join(sorted(self._known))}.")
            raise ExpressionError(f"{self.text!r}: nothing is called {name!r}; {meant}")
        self.names.add(name)
        return lambda values, lost: values[name]

    def _function(self, name: str, arguments: int) -> Callable[..., Any]:
        expected, function = _FUNCTIONS.get(name, (0, None))
        if function is None:
            raise ExpressionError(f"{self.text!r}: there is no function {name!r}. {_ALLOWED}")
        if expected and arguments != expected:
            raise ExpressionError(f"{self.text!r}: {name} takes {expected} argument(s), not {arguments}")
        return function

    def _compare(self, node: ast.Compare) -> _Node:
        parts = [self._build(part) for part in (node.left, *node.comparators)]
        compare = [_COMPARISONS[type(op)] for op in node.ops]

        def evaluate(values: Mapping[str, Any], lost: list[Any]) -> Any:
            numbers = [part(values, lost) for part in parts]
            lost += [unknown for number in numbers if np.any(unknown := np.isnan(number))]
            return _fold(np.logical_and, [op(a, b) for op, a, b in zip(compare, numbers, numbers[1:], strict=False)])

        return evaluate


_ALLOWED = f"A formula has numbers, names, + - * / **, comparisons, and, or, not, and {', '.join(_FUNCTIONS)}."


def _fold(function: Callable[[Any, Any], Any], values: Any) -> Any:
    result, *rest = values
    for value in rest:
        result = function(result, value)
    return result


def _applied(function: Callable[..., Any], *parts: _Node) -> _Node:
    return lambda values, lost: function(*[part(values, lost) for part in parts])
