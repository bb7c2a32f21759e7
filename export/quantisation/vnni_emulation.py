"""What a static int8 model answers on an x86-64 processor without VNNI, emulated: its byte products saturate.

There `vpmaddubsw` multiplies uint8 by int8 and adds neighbouring products in 16 bits; what does not fit becomes 32,767
or -32,768 (Intel's manual, volume 2, PMADDUBSW). The runtime's option `session.x64quantprecision` avoids it, as do
weights from -64 to 64.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from export.graph.operators import WEIGHTS_AT
from export.graph.rewriter import OPSET, Graph, attribute, node
from export.quantisation.blockwise import has_int8_weights, int8_weights

LOWEST, HIGHEST = -32768.0, 32767.0
HIGHEST_BYTE = 255


def saturating(path: Path, target: Path) -> int:
    """Write a static int8 model with every product as such a processor computes it; returns how many there are.

    It is made of ordinary operators, slow, and holds each product's pairs in memory: for a hundred texts, one by one.
    """
    graph = Graph(path)
    graph.require_opset(OPSET)
    products = graph.of_type("MatMulIntegerToFloat", "QAttention")
    for product in products:
        steps = _attention(graph, product) if product.op_type == "QAttention" else _product(graph, product)
        graph.replace(product, steps)
    graph.save(target)
    return len(products)


def can_saturate(path: Path) -> bool:
    """Whether any two neighbouring int8 weights of a product are large enough for some activations to saturate."""
    graph = Graph(path)
    for product in graph.of_type(*WEIGHTS_AT):
        name = product.input[WEIGHTS_AT[product.op_type]]
        if not has_int8_weights(graph, name):
            continue
        matrix = _in_pairs(int8_weights(graph, name)).astype(np.int64)
        highest, lowest = (
            (part[0::2] + part[1::2]) * HIGHEST_BYTE for part in (matrix.clip(min=0), matrix.clip(max=0))
        )
        if highest.max() > HIGHEST or lowest.min() < LOWEST:
            return True
    return False


def _in_pairs(weights: np.ndarray) -> np.ndarray:
    """Weights (rows, columns) with an even number of rows: with a row of zeros where they are odd."""
    return np.pad(weights, ((0, len(weights) % 2), (0, 0)))


def _product(graph: Graph, product: NodeProto) -> list[NodeProto]:
    values, weights, step, by_column, zero, _, *bias = product.input
    return _multiplied(graph, values, weights, step, by_column, zero, bias[0] if bias else None, product.output[0])


def _attention(graph: Graph, attention: NodeProto) -> list[NodeProto]:
    values, weights, bias, step, by_column, mask, zero, _ = attention.input
    output = attention.output[0]
    names = [f"{output}_{part}" for part in ("query", "key", "value")]
    split = onnx.helper.make_node("Split", [f"{output}_qkv"], names, axis=-1, num_outputs=3)
    heads = attribute(attention, "num_heads")
    attended = node("MultiHeadAttention", [*names, "", mask], output, microsoft=True, num_heads=heads)
    return [
        *_multiplied(graph, values, weights, step, by_column, zero, bias, f"{output}_qkv"),
        split,
        attended,
    ]


def _multiplied(
    graph: Graph, values: str, weights: str, step: str, by_column: str, zero: str, bias: str | None, output: str
) -> list[NodeProto]:
    """scale * (sum over pairs of clip(a0 w0 + a1 w1) - zero point * column sums) + bias."""
    rows = int8_weights(graph, weights)
    matrix = _in_pairs(rows).astype(np.float32)
    scale = graph.array(step) * graph.array(by_column)
    offset = -float(graph.array(zero)) * matrix.sum(axis=0) * scale + (0 if bias is None else graph.array(bias))
    constants = {
        "even": matrix[0::2],
        "odd": matrix[1::2],
        "scale": scale.astype(np.float32),
        "offset": offset.astype(np.float32),
    }
    name = {key: graph.add_constant(f"{output}_{key}", value) for key, value in constants.items()}
    axis = graph.add_constant("the_last_axis", [-1])
    pairs = graph.add_constant("axis_of_pairs", [-2])
    low, high = graph.add_constant("lowest", np.float32(LOWEST)), graph.add_constant("highest", np.float32(HIGHEST))
    end, two = graph.add_constant("the_end", [np.iinfo(np.int64).max]), graph.add_constant("every_second", [2])
    wide = f"{output}_wide"
    steps = [node("Cast", [values], wide, to=TensorProto.FLOAT)]
    if len(rows) % 2:
        ends = graph.add_constant("one_more_at_the_end", [0, 1])
        steps.append(node("Pad", [wide, ends, "", axis], f"{wide}_even"))
        wide = f"{wide}_even"
    for start, which in ((0, "even"), (1, "odd")):
        first = graph.add_constant(f"from_{start}", [start])
        steps += [
            node("Slice", [wide, first, end, axis, two], f"{output}_{which}_values"),
            node("Unsqueeze", [f"{output}_{which}_values", axis], f"{output}_{which}_column"),
            node("Mul", [f"{output}_{which}_column", name[which]], f"{output}_{which}_products"),
        ]
    return [
        *steps,
        node("Add", [f"{output}_even_products", f"{output}_odd_products"], f"{output}_pairs"),
        node("Clip", [f"{output}_pairs", low, high], f"{output}_saturated"),
        node("ReduceSum", [f"{output}_saturated", pairs], f"{output}_sum", keepdims=0),
        node("Mul", [f"{output}_sum", name["scale"]], f"{output}_scaled"),
        node("Add", [f"{output}_scaled", name["offset"]], output),
    ]
