"""A policy's network as an ONNX graph, written node by node: milliseconds, where tracing would take seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from rlbridge.learn.distributions import LOG_STD_RANGE, Categorical, Deterministic, DiagonalGaussian, Greedy
from rlbridge.learn.dueling import Dueling
from rlbridge.learn.nets import ACTIVATIONS, MLP
from rlbridge.learn.normalise import LIMIT
from rlbridge.learn.policy import Policy
from rlbridge.play.onnx_file import OPSET

IR_VERSION = 8  # the oldest that goes with the operator set, so that old runtimes read it


def kind_of(policy: Policy) -> str:
    """Which of ``rlbridge.play.description.OUTPUTS`` a policy is."""
    distribution = policy.distribution
    if isinstance(distribution, Categorical):
        return "categorical"
    if isinstance(distribution, Greedy):
        return "greedy"
    if isinstance(distribution, DiagonalGaussian):
        return "gaussian"
    return "deterministic" if isinstance(distribution, Deterministic) else "squashed_gaussian"


def policy_model(policy: Policy) -> bytes:
    """The bytes of an ONNX file that computes what ``policy`` does, up to the choice of an action.

    Encoded observations go in, ``observation`` ``[batch, *shape]``; they are normalised inside. What comes out, by
    kind: ``logits`` ``[batch, width * most]``, -1e9 for choices that there are not; ``q_values`` ``[batch, n]``;
    ``mean`` ``[batch, width]`` and ``log_std`` ``[width]``; of a squashed Gaussian, ``mean`` and ``log_std`` before
    the tanh, both ``[batch, width]``; ``action`` ``[batch, width]``, in -1..1.
    """
    graph, distribution, width = _Graph(policy), policy.distribution, policy.actions.width
    x = "observation"
    if policy.normaliser is not None:
        x = graph.add("Sub", x, graph.constant(policy.normaliser.shift))
        x = graph.add("Mul", x, graph.constant(policy.normaliser.scale))
        x = graph.add("Clip", x, graph.constant(-LIMIT), graph.constant(LIMIT))
    x = _trunk(graph, policy, x)
    weight, bias = _last_layer(policy.head)
    if isinstance(distribution, Categorical):
        mask = 0.0 if distribution.mask is None else _array(distribution.mask).reshape(-1)
        graph.output("logits", graph.linear(x, weight, bias + mask), "batch", len(bias))
    elif isinstance(distribution, Greedy):
        graph.output("q_values", graph.linear(x, weight, bias), "batch", len(bias))
    elif isinstance(distribution, Deterministic):
        graph.output("action", graph.add("Tanh", graph.linear(x, weight, bias)), "batch", width)
    elif isinstance(distribution, DiagonalGaussian):
        graph.output("mean", graph.linear(x, weight, bias), "batch", width)
        graph.output("log_std", graph.constant(distribution.log_std), width)
    else:
        log_std = graph.linear(x, weight[width:], bias[width:])
        graph.output("mean", graph.linear(x, weight[:width], bias[:width]), "batch", width)
        limits = [graph.constant(limit) for limit in LOG_STD_RANGE]
        graph.output("log_std", graph.add("Clip", log_std, *limits), "batch", width)
    return graph.model()


class _Graph:
    """Nodes and constants, as they come; every node gives one tensor, named after its number."""

    def __init__(self, policy: Policy) -> None:
        element = TensorProto.UINT8 if policy.encoder.image else TensorProto.FLOAT
        self.input = helper.make_tensor_value_info("observation", element, ["batch", *policy.encoder.shape])
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(_array(value), name))
        return name

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        return self.add("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def output(self, name: str, x: str, *shape: str | int) -> None:
        self.nodes.append(helper.make_node("Identity", [x], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self) -> bytes:
        graph = helper.make_graph(self.nodes, "policy", [self.input], self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rlbridge")
        return model.SerializeToString()


def _trunk(graph: _Graph, policy: Policy, x: str) -> str:
    trunk = policy.trunk
    if isinstance(trunk, MLP):
        return _hidden(graph, trunk, x)
    if len(policy.encoder.shape) == 2:
        x = graph.add("Unsqueeze", x, graph.constant(np.array([3], np.int64)))
    if trunk.order != (0, 1, 2, 3):
        x = graph.add("Transpose", x, perm=list(trunk.order))
    x = graph.add("Div", graph.add("Cast", x, to=TensorProto.FLOAT), graph.constant(trunk.white))
    for kernels, weight, bias in trunk.layers:
        strides, pads = [kernels.stride] * 2, [kernels.padding] * 4
        x = graph.add("Conv", x, graph.constant(weight), graph.constant(bias), strides=strides, pads=pads)
        x = graph.add("Relu", x)
    return _hidden(graph, trunk.mlp, graph.add("Flatten", x))


def _hidden(graph: _Graph, mlp: MLP, x: str) -> str:
    activation = next(name for name, function in ACTIVATIONS.items() if function is mlp.activation)
    for weight, bias in mlp.hidden:
        x = graph.linear(x, _array(weight), _array(bias))
        if activation == "silu":
            x = graph.add("Mul", x, graph.add("Sigmoid", x))
        else:
            x = graph.add(activation.capitalize(), x)
    return x


def _last_layer(head: MLP | Dueling) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight ``[outputs, features]`` and bias ``[outputs]``.

    The dueling head is linear: its mean and its sum go into the weights, in double precision, and nothing is left of
    it to run.
    """
    [(weight, bias)] = head.streams.last if isinstance(head, Dueling) else head.last
    if not isinstance(head, Dueling):
        return _array(weight), _array(bias)
    rows = np.concatenate([_array(weight), _array(bias)[:, None]], 1).astype(np.float64)
    value, advantage = rows[:1], rows[1:]
    both = (value + advantage - advantage.mean(0)).astype(np.float32)
    return both[:, :-1].copy(), both[:, -1].copy()


def _array(value: Any) -> NDArray[Any]:
    """Little-endian float32, unless it is an array already."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return value if isinstance(value, np.ndarray) else np.array(value, np.float32)
