"""Which networks are run, and that none of them can grow without bounds."""

from __future__ import annotations

from math import prod
from typing import Any

from rlbridge.play.onnx_file import Node, OnnxFile, PolicyFileError

MAX_NUMBERS = 2**24
"""Numbers that one observation may become, in any layer: 64 MiB of float32."""

MAX_OPERATIONS = 2**30
"""Multiplications that one observation may cost; a network for 84 x 84 pictures takes some ten million."""

SAME_SHAPE = ("Cast", "Clip", "Elu", "Identity", "Relu", "Sigmoid", "Tanh")
OPERATORS = (*SAME_SHAPE, "Conv", "Div", "Flatten", "Gemm", "Mul", "Sub", "Transpose", "Unsqueeze")
"""What :mod:`rlbridge.learn.onnx_graph` writes."""

Shape = tuple[int, ...]


def output_shapes(file: OnnxFile, observation: Shape) -> dict[str, Shape]:
    """What each tensor of the graph is, for one observation; computed, since what a file says of itself may be wrong.

    Args:
        file: as read.
        observation: without the batch axis.

    Returns:
        Shapes without the batch axis, by name, of all that depends on the observation; and those of constants.

    Raises:
        PolicyFileError: an operator that no policy needs, one whose inputs do not fit, or a layer that is too large.
    """
    rows: dict[str, Shape] = {file.inputs[0].name: observation}
    constants = dict(file.constants)
    if file.inputs[0].name in constants:
        raise PolicyFileError(f"the network's input {file.inputs[0].name!r} is stored in the file.")
    for node in file.nodes:
        if node.operator not in OPERATORS:
            raise PolicyFileError(
                f"the network has an operator {node.operator[:100]!r}; a policy needs none but {', '.join(OPERATORS)}."
            )
        given: list[Any] = [rows.get(name) for name in node.inputs]
        fixed: list[Any] = [constants.get(name) for name in node.inputs]
        if len(node.outputs) != 1 or node.outputs[0] in rows or node.outputs[0] in constants or not given:
            raise PolicyFileError(f"a {node.operator} has the outputs {node.outputs[:5]}; one new one is wanted.")
        if node.operator == "Identity" and fixed[0] is not None:
            constants[node.outputs[0]] = fixed[0]
            continue
        try:
            shape = _shape(node, given, fixed)
        except (TypeError, ValueError, IndexError, ZeroDivisionError):
            shape = None
        if shape is None or not 0 < prod(shape) <= MAX_NUMBERS:
            raise PolicyFileError(
                f"a {node.operator} of {given} with constants {fixed} and {node.attributes} cannot be, or is too large."
            )
        rows[node.outputs[0]] = shape
    return {**rows, **constants}


def work(file: OnnxFile, shapes: dict[str, Shape]) -> tuple[int, int]:
    """Multiplications for one observation (of products and convolutions), and the numbers of the largest layer.

    Args:
        file: as read.
        shapes: what :func:`output_shapes` gave for it.
    """
    operations = 0
    for node in file.nodes:
        made = prod(shapes[node.outputs[0]])
        if node.operator == "Gemm":
            operations += made * prod(shapes[node.inputs[0]])
        elif node.operator == "Conv":
            operations += made * prod(shapes[node.inputs[1]][1:])
    return operations, max(prod(shapes[node.outputs[0]]) for node in file.nodes)


def _shape(node: Node, given: list[Any], fixed: list[Any]) -> Shape | None:
    """The shape of a node's output, without the batch axis; None (or an exception) if its inputs do not fit."""
    x: Shape | None = given[0]
    if x is None:
        return None
    if node.operator in SAME_SHAPE:
        return x if all(shape == () for shape in fixed[1:]) else None
    if node.operator in ("Div", "Mul", "Sub"):
        if given[1] is not None:
            return x if given[1] == x else None
        constant = (1,) * (len(x) - len(fixed[1])) + fixed[1]
        return x if len(constant) == len(x) and all(c in (1, n) for c, n in zip(constant, x, strict=True)) else None
    if node.operator == "Flatten":
        return (prod(x),) if node.attributes.get("axis", 1) == 1 else None
    if node.operator == "Transpose":
        order = node.attributes["perm"]
        return (
            tuple(x[i - 1] for i in order[1:]) if sorted(order) == list(range(len(x) + 1)) and order[0] == 0 else None
        )
    if node.operator == "Unsqueeze":
        return (*x, 1) if fixed[1] == (1,) else None
    if node.operator == "Gemm":
        outputs, inputs = fixed[1] if node.attributes.get("transB", 0) else reversed(fixed[1])
        fits = x == (inputs,) and fixed[2] == (outputs,) and not node.attributes.get("transA", 0)
        return (outputs,) if fits else None
    return _convolved(node.attributes, x, fixed[1], fixed[2])


def _convolved(attributes: dict[str, Any], x: Shape, kernel: Shape, bias: Shape) -> Shape | None:
    channels, *sides = x
    strides, pads = attributes.get("strides", [1, 1]), attributes.get("pads", [0, 0, 0, 0])
    usual = {"dilations": [1, 1], "group": 1, "auto_pad": b"NOTSET"}
    plain = all(attributes.get(name, value) == value for name, value in usual.items())
    if not plain or len(sides) != 2 or kernel[1] != channels or bias != (kernel[0],) or len(pads) != 4:
        return None
    if min(strides) < 1 or min(pads) < 0 or max(pads) >= min(kernel[2:]):
        return None
    over = [sides[0] + pads[0] + pads[2], sides[1] + pads[1] + pads[3]]
    out = [(side - k) // stride + 1 for side, k, stride in zip(over, kernel[2:], strides, strict=True)]
    return (kernel[0], *out) if min(out) > 0 else None
