"""The products of a graph with constant weights: where they stand, and what they multiply by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from export.graph.rewriter import Graph, attribute


@dataclass(frozen=True, kw_only=True)
class ConstantMatMul:
    """A MatMul, a Gemm, or the one product of Q, K and V in an Attention: input (..., rows) by weights (rows, columns).

    `bias`: the constant that this node itself adds, of a Gemm and an Attention.
    """

    node: NodeProto
    input: str
    name: str
    weights: np.ndarray
    bias: str | None


def constant_matmuls(graph: Graph, *, without_last: bool = True) -> Iterator[ConstantMatMul]:
    """Every product with constant weights, in order. `without_last`: but for the one that makes the logits.

    That one is small, and what it gets wrong goes straight into the answer.
    """
    found = [
        node
        for node in graph.of_type("MatMul", "Gemm", "Attention")
        if len(node.input) > 1 and node.input[1] in graph.constants
    ]
    for node in found[:-1] if without_last else found:
        weights = graph.array(node.input[1])
        if node.op_type == "Gemm" and attribute(node, "transB", 0):
            weights = weights.T
        bias = node.input[2] if node.op_type != "MatMul" and len(node.input) > 2 else None
        yield ConstantMatMul(node=node, input=node.input[0], name=node.input[1], weights=weights, bias=bias)


def take_bias(graph: Graph, product: ConstantMatMul) -> str | None:
    """The constant added to a product: its own, or that of the operator behind it, which then adds it no longer."""
    if product.bias is not None:
        return product.bias
    users = graph.users(product.node.output[0])
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
    return None
