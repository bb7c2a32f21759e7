"""Attention as separate operators: its products can then be quantised, and the last layer needs one query only.

onnxruntime's fused operators compute attention in fp32. Their weights and biases join those of Q, K and V.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from export.graph.operators import ATTENTION_NODES
from export.graph.rewriter import Graph, attribute, make_node

MASK = "attention_mask"
NODES_OF_PROJECTIONS = 6  # a product and an addition for each of Q, K and V
PADDING_BIAS, HAS_PADDING = "padding_bias", "has_padding"
PADDING_SCORE = np.float32(-10_000)  # added to scores of padding; their probability is then exactly 0


@dataclass(frozen=True, kw_only=True)
class SeparateAttention:
    """Tensors of one attention layer. Shapes: B texts, S positions, h heads of d columns.

    `query`, `key`, `value`: projections with bias (B, S, h * d). `scores`: (B, h, S, S). `probabilities`: the same.
    `context`: (B, h, S, d). `output`: (B, S, h * d).
    """

    query: str
    key: str
    value: str
    scores: str
    probabilities: str
    context: str
    output: str
    num_heads: int


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """One of Q, K and V: `matrix` (h * d rows, h * d columns) and `bias` (h * d,)."""

    matrix: np.ndarray
    bias: np.ndarray


def separate_attentions(graph: Graph) -> list[SeparateAttention]:
    """Replace each Attention by standard operators. The function stays the same. Returns the layers in order.

    A layer of which only the first position is read is replaced by `shorten_last_attention`, and not returned.
    """
    shorten_last_attention(graph)
    layers = []
    for number, attention in enumerate(graph.of_type("Attention")):
        layers.append(_separate(graph, attention, f"attention{number}"))
    return layers


def shorten_last_attention(graph: Graph) -> bool:
    """Compute the last attention for its first position only, if no other is read. Returns whether it was replaced.

    With one query q per head, the products q K^T = (q Wk^T) x^T and p V = (p x) Wv need neither K nor V. The bias of K
    adds the same to all scores, so softmax removes it.
    """
    attentions = graph.of_type("Attention")
    readers = graph.users(attentions[-1].output[0]) if attentions else []
    if len(readers) != 1 or readers[0].op_type != "Gather" or attribute(readers[0], "axis", 0) != 1:
        return False
    attention, gather = attentions[-1], readers[0]
    position = graph.constant_value(gather.input[1])
    if position is None or position.tolist() != [0]:
        return False
    query, key, value = _projections(graph, attention)
    states, heads = attention.input[0], attribute(attention, "num_heads")
    width = len(query.bias)
    columns = width // heads
    prefix = "last_attention"
    first = f"{prefix}_state"
    by_head = graph.add_constant(f"{prefix}_by_head", [0, heads, 1, columns])
    rows = graph.add_constant(f"{prefix}_rows", [0, heads, width])
    one_row = graph.add_constant(f"{prefix}_one_row", [0, heads, 1, width])
    merged = graph.add_constant(f"{prefix}_merged", [0, 1, width])
    head_axis = graph.add_constant("axis_of_heads", [1])
    key_weights = graph.add_constant(
        f"{prefix}_key_weights", np.ascontiguousarray(key.matrix.reshape(width, heads, columns).transpose(1, 2, 0))
    )
    value_weights = graph.add_constant(
        f"{prefix}_value_weights", np.ascontiguousarray(value.matrix.reshape(width, heads, columns).transpose(1, 0, 2))
    )
    nodes = [
        make_node("Gather", [states, gather.input[1]], first, axis=1),
        *_projection(graph, first, query, f"{prefix}_query"),
        make_node("Reshape", [f"{prefix}_query", by_head], f"{prefix}_queries"),
        make_node("MatMul", [f"{prefix}_queries", key_weights], f"{prefix}_directions_by_head"),
        make_node("Reshape", [f"{prefix}_directions_by_head", rows], f"{prefix}_directions"),
        make_node("Transpose", [states], f"{prefix}_states", perm=[0, 2, 1]),
        make_node("MatMul", [f"{prefix}_directions", f"{prefix}_states"], f"{prefix}_scores"),
        make_node("Unsqueeze", [PADDING_BIAS, head_axis], f"{prefix}_bias"),
        make_node("Add", [f"{prefix}_scores", f"{prefix}_bias"], f"{prefix}_masked_scores"),
        make_node("Softmax", [f"{prefix}_masked_scores"], f"{prefix}_probabilities", axis=-1),
        make_node("MatMul", [f"{prefix}_probabilities", states], f"{prefix}_means"),
        make_node("Reshape", [f"{prefix}_means", one_row], f"{prefix}_means_by_head"),
        make_node("MatMul", [f"{prefix}_means_by_head", value_weights], f"{prefix}_context"),
        make_node("Reshape", [f"{prefix}_context", merged], f"{prefix}_merged_context"),
        make_node(
            "Add",
            [f"{prefix}_merged_context", graph.add_constant(f"{prefix}_value_bias", value.bias)],
            gather.output[0],
        ),
    ]
    for number, node in enumerate(nodes):
        node.name = f"{ATTENTION_NODES}{prefix}_{number}"
    _add_padding_bias(graph)
    graph.replace(attention, nodes)
    graph.nodes.remove(gather)
    return True


def _separate(graph: Graph, attention: NodeProto, prefix: str) -> SeparateAttention:
    states, heads = attention.input[0], attribute(attention, "num_heads")
    query, key, value = _projections(graph, attention)
    width = len(query.bias)
    by_head = graph.add_constant("by_head", [0, 0, heads, width // heads])
    merged = graph.add_constant("merged_heads", [0, 0, width])
    layer = SeparateAttention(
        query=f"{prefix}_query",
        key=f"{prefix}_key",
        value=f"{prefix}_value",
        scores=f"{prefix}_scores",
        probabilities=f"{prefix}_probabilities",
        context=f"{prefix}_context",
        output=attention.output[0],
        num_heads=heads,
    )
    nodes = [
        *_projection(graph, states, query, layer.query),
        *_projection(graph, states, key, layer.key),
        *_projection(graph, states, value, layer.value),
    ]
    for name, order in ((layer.query, [0, 2, 1, 3]), (layer.key, [0, 2, 3, 1]), (layer.value, [0, 2, 1, 3])):
        nodes += [
            make_node("Reshape", [name, by_head], f"{name}_split"),
            make_node("Transpose", [f"{name}_split"], f"{name}_by_head", perm=order),
        ]
    nodes += [
        make_node("MatMul", [f"{layer.query}_by_head", f"{layer.key}_by_head"], layer.scores),
        *_softmax(layer.scores, layer.probabilities),
        make_node("MatMul", [layer.probabilities, f"{layer.value}_by_head"], layer.context),
        make_node("Transpose", [layer.context], f"{layer.context}_by_position", perm=[0, 2, 1, 3]),
        make_node("Reshape", [f"{layer.context}_by_position", merged], layer.output),
    ]
    for number, node in enumerate(nodes[NODES_OF_PROJECTIONS:]):
        node.name = f"{ATTENTION_NODES}{prefix}_{number}"
    _add_padding_bias(graph)
    _add_padding_test(graph)
    graph.replace(attention, nodes)
    return layer


def _projections(graph: Graph, attention: NodeProto) -> tuple[_Weights, _Weights, _Weights]:
    """Q, K and V. Q contains the factor 1 / sqrt(d) of the scores (Vaswani et al. 2017, eq. 1)."""
    weights, bias = graph.array(attention.input[1]), graph.array(attention.input[2])
    parts = zip(np.split(weights, 3, axis=1), np.split(bias, 3), strict=True)
    query, key, value = (_Weights(matrix=np.ascontiguousarray(matrix), bias=vector) for matrix, vector in parts)
    factor = np.float32((len(query.bias) // attribute(attention, "num_heads")) ** -0.5)
    return _Weights(matrix=query.matrix * factor, bias=query.bias * factor), key, value


def _projection(graph: Graph, states: str, weights: _Weights, output: str) -> list[NodeProto]:
    return [
        make_node("MatMul", [states, graph.add_constant(f"{output}_weights", weights.matrix)], f"{output}_product"),
        make_node("Add", [f"{output}_product", graph.add_constant(f"{output}_bias", weights.bias)], output),
    ]


def _add_padding_bias(graph: Graph) -> None:
    """Compute once what the scores of padding get added (B, S)."""
    if graph.producer(PADDING_BIAS) is not None:
        return
    one, factor = graph.add_constant("no_padding", np.float32(1)), graph.add_constant("minus_bias", -PADDING_SCORE)
    nodes = [
        make_node("Cast", [MASK], "tokens", to=TensorProto.FLOAT),
        make_node("Sub", ["tokens", one], "minus_padding"),
        make_node("Mul", ["minus_padding", factor], PADDING_BIAS),
    ]
    graph.insert_before(graph.nodes[0], nodes)


def _add_padding_test(graph: Graph) -> None:
    """Compute once whether there is any padding."""
    if graph.producer(HAS_PADDING) is not None:
        return
    zero = graph.add_constant("no_token", np.int64(0))
    nodes = [
        make_node("ReduceMin", [MASK], "least_mask", keepdims=0),
        make_node("Equal", ["least_mask", zero], HAS_PADDING),
    ]
    graph.insert_before(graph.nodes[0], nodes)


def _softmax(scores: str, output: str) -> list[NodeProto]:
    """Probabilities (B, h, S, S). Only with padding is its bias added, because that takes as long as a softmax."""
    axes, name = f"{output}_axes", f"{ATTENTION_NODES}{output}"
    masked = helper.make_graph(
        [
            make_node("Unsqueeze", [PADDING_BIAS, axes], f"{output}_bias", name=f"{name}_bias"),
            make_node("Add", [scores, f"{output}_bias"], f"{output}_masked_scores", name=f"{name}_masked"),
            make_node("Softmax", [f"{output}_masked_scores"], f"{output}_of_tokens", name=f"{name}_of_tokens", axis=-1),
        ],
        f"{output}_with_padding",
        [],
        [helper.make_tensor_value_info(f"{output}_of_tokens", TensorProto.FLOAT, None)],
        [helper.make_tensor(axes, TensorProto.INT64, [2], [1, 2])],
    )
    unmasked = helper.make_graph(
        [make_node("Softmax", [scores], f"{output}_of_all", name=f"{name}_of_all", axis=-1)],
        f"{output}_without_padding",
        [],
        [helper.make_tensor_value_info(f"{output}_of_all", TensorProto.FLOAT, None)],
    )
    return [make_node("If", [HAS_PADDING], output, then_branch=masked, else_branch=unmasked)]
