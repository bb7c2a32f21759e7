"""Emulates a static int8 model on an x86-64 processor without VNNI, where int8 products saturate.

There `vpmaddubsw` multiplies uint8 by int8 and adds adjacent products in 16 bits. Sums outside that range become 32,767
or -32,768 (Intel's manual, volume 2, PMADDUBSW). Two things prevent this: onnxruntime's session option
`session.x64quantprecision`, and weights from -64 to 64.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from export.graph.operators import WEIGHTS_AT
from export.graph.rewriter import Graph, attribute, make_node
from export.quantisation.int4_weights import has_int8_weights, int8_weights

OPSET = 18  # the first in which Split has num_outputs and Pad has axes
LOWEST, HIGHEST = -32768.0, 32767.0
HIGHEST_BYTE = 255


def write_saturating_model(path: Path, target: Path) -> int:
    """Write a static int8 model with saturating multiplications. Returns how many it has.

    The emulation consists of standard operators. It is slow and holds all product pairs in memory, so it suits about a
    hundred texts, one at a time.
    """
    graph = Graph(path)
    graph.require_opset(OPSET)
    matmuls = graph.of_type("MatMulIntegerToFloat", "QAttention")
    for matmul in matmuls:
        emulation = _emulate_attention(graph, matmul) if matmul.op_type == "QAttention" else _emulate(graph, matmul)
        graph.replace(matmul, emulation)
    graph.save(target)
    return len(matmuls)


def can_saturate(path: Path) -> bool:
    """Whether two adjacent int8 weights of any multiplication can saturate for some activations."""
    graph = Graph(path)
    for matmul in graph.of_type(*WEIGHTS_AT):
        name = matmul.input[WEIGHTS_AT[matmul.op_type]]
        if not has_int8_weights(graph, name):
            continue
        weights = _with_even_rows(int8_weights(graph, name)).astype(np.int64)
        highest, lowest = (
            (part[0::2] + part[1::2]) * HIGHEST_BYTE for part in (weights.clip(min=0), weights.clip(max=0))
        )
        if highest.max() > HIGHEST or lowest.min() < LOWEST:
            return True
    return False


def _with_even_rows(weights: np.ndarray) -> np.ndarray:
    """Weights (rows, columns), with a row of zeros appended if the number of rows is odd."""
    return np.pad(weights, ((0, len(weights) % 2), (0, 0)))


def _emulate(graph: Graph, matmul: NodeProto) -> list[NodeProto]:
    values, weights, scale, weight_scales, zero_point, *optional = matmul.input
    if not has_int8_weights(graph, weights):  # two activations, whose ranges exclude saturation
        return _exact_matmul(values, weights, scale, weight_scales, zero_point, matmul.output[0])
    bias = optional[1] if len(optional) == 2 else None  # the first is the zero point of the weights
    return _saturating_matmul(graph, values, weights, scale, weight_scales, zero_point, bias, matmul.output[0])


def _emulate_attention(graph: Graph, attention: NodeProto) -> list[NodeProto]:
    values, weights, bias, scale, weight_scales, mask, zero_point, _ = attention.input
    output = attention.output[0]
    names = [f"{output}_{part}" for part in ("query", "key", "value")]
    split = onnx.helper.make_node("Split", [f"{output}_qkv"], names, axis=-1, num_outputs=3)
    heads = attribute(attention, "num_heads")
    fp32_attention = make_node("MultiHeadAttention", [*names, "", mask], output, microsoft=True, num_heads=heads)
    return [
        *_saturating_matmul(graph, values, weights, scale, weight_scales, zero_point, bias, f"{output}_qkv"),
        split,
        fp32_attention,
    ]


def _exact_matmul(
    left: str, right: str, left_scale: str, right_scale: str, left_zero_point: str, output: str
) -> list[NodeProto]:
    wide, shifted, zero = f"{output}_wide", f"{output}_shifted", f"{output}_zero"
    return [
        make_node("Cast", [left], wide, to=TensorProto.FLOAT),
        make_node("Cast", [left_zero_point], zero, to=TensorProto.FLOAT),
        make_node("Sub", [wide, zero], shifted),
        make_node("Cast", [right], f"{output}_right", to=TensorProto.FLOAT),
        make_node("MatMul", [shifted, f"{output}_right"], f"{output}_integers"),
        make_node("Mul", [left_scale, right_scale], f"{output}_scale"),
        make_node("Mul", [f"{output}_integers", f"{output}_scale"], output),
    ]


def _saturating_matmul(
    graph: Graph,
    values: str,
    weights: str,
    scale: str,
    weight_scales: str,
    zero_point: str,
    bias: str | None,
    output: str,
) -> list[NodeProto]:
    """scale * (sum over pairs of clip(a0 w0 + a1 w1) - zero point * column sums) + bias."""
    rows = int8_weights(graph, weights)
    even_rows = _with_even_rows(rows).astype(np.float32)
    column_scales = graph.array(scale) * graph.array(weight_scales)
    offset = -float(graph.array(zero_point)) * even_rows.sum(axis=0) * column_scales + (
        0 if bias is None else graph.array(bias)
    )
    constants = {
        "even": even_rows[0::2],
        "odd": even_rows[1::2],
        "scale": column_scales.astype(np.float32),
        "offset": offset.astype(np.float32),
    }
    name = {key: graph.add_constant(f"{output}_emulated_{key}", value) for key, value in constants.items()}
    axis = graph.add_constant("the_last_axis", [-1])
    pairs = graph.add_constant("axis_of_pairs", [-2])
    low, high = graph.add_constant("lowest", np.float32(LOWEST)), graph.add_constant("highest", np.float32(HIGHEST))
    end, two = graph.add_constant("the_end", [np.iinfo(np.int64).max]), graph.add_constant("every_second", [2])
    wide = f"{output}_wide"
    nodes = [make_node("Cast", [values], wide, to=TensorProto.FLOAT)]
    if len(rows) % 2:
        padding = graph.add_constant("one_more_at_the_end", [0, 1])
        nodes.append(make_node("Pad", [wide, padding, "", axis], f"{wide}_even"))
        wide = f"{wide}_even"
    for start, parity in ((0, "even"), (1, "odd")):
        first = graph.add_constant(f"from_{start}", [start])
        nodes += [
            make_node("Slice", [wide, first, end, axis, two], f"{output}_{parity}_values"),
            make_node("Unsqueeze", [f"{output}_{parity}_values", axis], f"{output}_{parity}_column"),
            make_node("Mul", [f"{output}_{parity}_column", name[parity]], f"{output}_{parity}_products"),
        ]
    return [
        *nodes,
        make_node("Add", [f"{output}_even_products", f"{output}_odd_products"], f"{output}_pairs"),
        make_node("Clip", [f"{output}_pairs", low, high], f"{output}_saturated"),
        make_node("ReduceSum", [f"{output}_saturated", pairs], f"{output}_sum", keepdims=0),
        make_node("Mul", [f"{output}_sum", name["scale"]], f"{output}_scaled"),
        make_node("Add", [f"{output}_scaled", name["offset"]], output),
    ]
