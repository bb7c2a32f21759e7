"""Static int8 quantisation of a fused graph: uint8 activations with fixed ranges, times int8 weights.

onnxruntime's static quantiser fails on a fused graph. Its dynamic quantiser computes ranges per batch, so the output
for a text depends on the rest of its batch. Here every range is a constant, measured over calibration texts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import TensorProto

from export.graph.attention import SeparateAttention, separate_attentions
from export.graph.matmuls import ConstantMatMul, constant_matmuls, take_bias
from export.graph.rewriter import Graph, attribute, make_node
from export.quantisation.activation_ranges import ActivationRange, measure_ranges
from export.quantisation.int4_weights import add_4_bit_weights
from export.quantisation.static_attention import head_weights, quantise_attention, quantised_tensors
from export.quantisation.variants import largest_weight

Attention = Literal["int8", "fp32"]


@dataclass(frozen=True, kw_only=True)
class StaticOptions:
    """Options of static quantisation.

    `share`: share of an activation's values inside its range; 1.0 gives minimum and maximum. `bits`: bits of the stored
    weights, 8 or 4. `reduced`: restricts weights to -64..64 instead of -127..127, so that no processor saturates.
    `attention`: the precision of the products of two activations.
    """

    share: float = 1.0
    bits: int = 8
    reduced: bool = True
    attention: Attention = "int8"


def quantise_matmuls(
    path: Path, batches: Iterable[Mapping[str, np.ndarray]], target: Path, options: StaticOptions
) -> int:
    """Write the model at `path` with every multiplication but the last in int8. Returns how many were quantised.

    Each becomes a QuantizeLinear with constant scale and zero point, followed by a MatMulIntegerToFloat or QAttention.
    The weights are int8 with one scale per column. The new operator also adds the bias.
    """
    graph = Graph(path)
    layers = list[SeparateAttention]()
    if options.attention == "int8":
        layers = separate_attentions(graph)
        graph.save(target)
        path = target
    matmuls = list(constant_matmuls(graph))
    measured = [matmul.input for matmul in matmuls] + [name for layer in layers for name in quantised_tensors(layer)]
    ranges = measure_ranges(path, measured, batches, share=options.share)
    for layer in layers:
        quantise_attention(graph, layer, ranges)
    for matmul in matmuls:
        _quantise(graph, matmul, ranges[matmul.input], options)
    for name, weights in head_weights(graph).items():
        _store_by_head(graph, name, weights, options)
    graph.save(target)
    return len(matmuls)


def _quantise(graph: Graph, matmul: ConstantMatMul, input_range: ActivationRange, options: StaticOptions) -> None:
    quantised_input = f"{matmul.input}_uint8"
    scale = graph.add_constant(f"{matmul.input}_scale", input_range.scale)
    zero_point = graph.add_constant(f"{matmul.input}_zero_point", input_range.zero_point)
    if graph.producer(quantised_input) is None:
        quantise = make_node("QuantizeLinear", [matmul.input, scale, zero_point], quantised_input)
        graph.insert_before(matmul.node, [quantise])
    weights, scales = _integers(graph, matmul.name, matmul.weights, options)
    weight_scales = graph.add_constant(f"{matmul.name}_scale", scales)
    if matmul.node.op_type == "Attention":
        bias, mask = matmul.node.input[2:4]
        weight_zero_points = graph.add_constant(f"{matmul.name}_zero_point", np.zeros(len(scales), dtype=np.int8))
        inputs = [quantised_input, weights, bias, scale, weight_scales, mask, zero_point, weight_zero_points]
        heads = attribute(matmul.node, "num_heads")
        quantised = make_node("QAttention", inputs, matmul.node.output[0], microsoft=True, num_heads=heads)
    else:
        bias = take_bias(graph, matmul)
        inputs = [
            *(quantised_input, weights, scale, weight_scales, zero_point),
            *([] if bias is None else ["", bias]),  # the weights' zero point is 0
        ]
        quantised = make_node("MatMulIntegerToFloat", inputs, matmul.node.output[0], microsoft=True)
    graph.replace(matmul.node, [quantised])


def _store_by_head(graph: Graph, name: str, weights: np.ndarray, options: StaticOptions) -> None:
    """Store weights (heads, rows, columns) of an fp32 product as the others. They become fp32 again at load."""
    numbers, scales = _integers(graph, name, weights.reshape(-1, weights.shape[-1]), options)
    scales_name = graph.add_constant(f"{name}_scale", scales)
    shape = graph.add_constant(f"{name}_shape", list(weights.shape))
    unpacking = [
        make_node("Cast", [numbers], f"{name}_numbers", to=TensorProto.FLOAT),
        make_node("Mul", [f"{name}_numbers", scales_name], f"{name}_rows"),
        make_node("Reshape", [f"{name}_rows", shape], f"{name}_unpacked"),
    ]
    (user,) = graph.users(name)
    user.input[1] = f"{name}_unpacked"
    graph.insert_before(user, unpacking)


def _integers(graph: Graph, name: str, weights: np.ndarray, options: StaticOptions) -> tuple[str, np.ndarray]:
    """The name of the int8 tensor of weights (rows, columns), and its scales (columns,)."""
    limit = largest_weight(reduced=options.reduced)
    if options.bits == 4 and len(weights) % 2 == 0:  # a byte holds the numbers of two rows
        return add_4_bit_weights(graph, name, weights, limit=limit)
    scales = (np.maximum(np.abs(weights).max(axis=0), 1e-8) / limit).astype(np.float32)
    numbers = np.clip(np.round(weights / scales), -limit, limit).astype(np.int8)
    return graph.add_constant(f"{name}_int8", numbers), scales
