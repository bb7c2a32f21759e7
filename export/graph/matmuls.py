"""Finds the matrix multiplications of a graph that have constant weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from export.graph.rewriter import Graph, attribute


@dataclass(frozen=True, kw_only=True)
class ConstantMatMul:
    """A MatMul, a Gemm, or the joint Q, K and V projection of an Attention.

    It multiplies an input (..., rows) by constant weights (rows, columns). `bias`: name of the bias that the node
    itself adds; None for a MatMul.
    """

    node: NodeProto
    input: str
    name: str
    weights: np.ndarray
    bias: str | None


def constant_matmuls(graph: Graph, *, without_last: bool = True) -> Iterator[ConstantMatMul]:
    """Every multiplication by constant weights, in graph order.

    `without_last`: leaves out the last one, which computes the logits. It is small, and its quantisation error would go
    straight into the output.
    """
    candidates = [
        node
        for node in graph.of_type("MatMul", "Gemm", "Attention")
        if len(node.input) > 1 and node.input[1] in graph.constants
    ]
    for node in candidates[:-1] if without_last else candidates:
        weights = graph.array(node.input[1])
        if weights.ndim != 2:  # one matrix per head
            continue
        if node.op_type == "Gemm" and attribute(node, "transB", 0):
            weights = weights.T
        bias = node.input[2] if node.op_type != "MatMul" and len(node.input) > 2 else None
        yield ConstantMatMul(node=node, input=node.input[0], name=node.input[1], weights=weights, bias=bias)


def take_bias(graph: Graph, matmul: ConstantMatMul) -> str | None:
    """The name of the bias of a multiplication; None if it has none.

    A bias that the next operator adds is removed from that operator.
    """
    if matmul.bias is not None:
        return matmul.bias
    users = graph.users(matmul.node.output[0])
    if len(users) != 1:
        return None
    user = users[0]
    if user.op_type == "BiasGelu":
        bias = user.input[1]
        del user.input[1]
        user.op_type = "Gelu"
        return bias
    if user.op_type == "Sum" and len(user.input) > 2 and user.input[2] in graph.constants:
        return user.input.pop()
    if user.op_type == "Add" and user.input[1] in graph.constants:
        graph.nodes.remove(user)
        matmul.node.output[0] = user.output[0]
        return user.input[1]
    return None
