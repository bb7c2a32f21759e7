"""int8 with fixed ranges: products of uint8 activations and int8 weights, on the fused graph as it is.

The library's static quantiser fails on a fused graph, and its dynamic one takes ranges anew for each batch, so that a
text's answer depends on its neighbours. Here every range is a constant, measured over calibration texts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.graph.matmuls import ConstantMatMul, constant_matmuls, take_bias
from export.graph.rewriter import Graph, attribute, node
from export.quantisation.activation_ranges import ActivationRange, measure_ranges
from export.quantisation.blockwise import stored_in_4_bits

FULL = 127
REDUCED = 64  # two products of it and 255 together stay within 16 bits


@dataclass(frozen=True, kw_only=True)
class StaticOptions:
    """How ranges are taken and weights are stored.

    `share`: of the activations' values that must lie inside their range; 1: all (min-max). `bits`: of stored weights, 8
    or 4. `reduced`: weights from -64 to 64, whose products no processor saturates; else from -127 to 127.
    """

    share: float = 1.0
    bits: int = 8
    reduced: bool = False


def quantise_matmuls(
    path: Path, batches: Iterable[Mapping[str, np.ndarray]], target: Path, options: StaticOptions
) -> int:
    """Write the model at `path` with every product but the last in int8; returns how many there are.

    A product becomes QuantizeLinear with a constant scale and zero point, and MatMulIntegerToFloat (or QAttention), its
    weights int8 with a scale for each column, its bias added in the same operator.
    """
    graph = Graph(path)
    found = list(constant_matmuls(graph))
    ranges = measure_ranges(path, [product.input for product in found], batches, share=options.share)
    for product in found:
        _quantise(graph, product, ranges[product.input], options)
    graph.save(target)
    return len(found)


def _quantise(graph: Graph, product: ConstantMatMul, measured: ActivationRange, options: StaticOptions) -> None:
    quantised = f"{product.input}_uint8"
    step = graph.add_constant(f"{product.input}_scale", measured.scale)
    zero = graph.add_constant(f"{product.input}_zero_point", measured.zero_point)
    if graph.producer(quantised) is None:
        graph.insert_before(product.node, [node("QuantizeLinear", [product.input, step, zero], quantised)])
    weights, scales = _weights(graph, product, options)
    by_column = graph.add_constant(f"{product.name}_scale", scales)
    no_shift = graph.add_constant(f"{product.name}_zero_point", np.zeros(len(scales), dtype=np.int8))
    output = product.node.output[0]
    if product.node.op_type == "Attention":
        bias, mask = product.node.input[2:4]
        inputs = [quantised, weights, bias, step, by_column, mask, zero, no_shift]
        heads = attribute(product.node, "num_heads")
        multiplied = node("QAttention", inputs, output, microsoft=True, num_heads=heads)
    else:
        bias = take_bias(graph, product)
        inputs = [quantised, weights, step, by_column, zero, no_shift, *([] if bias is None else [bias])]
        multiplied = node("MatMulIntegerToFloat", inputs, output, microsoft=True)
    graph.replace(product.node, [multiplied])


def _weights(graph: Graph, product: ConstantMatMul, options: StaticOptions) -> tuple[str, np.ndarray]:
    """The int8 tensor of a product's weights, and its scales (columns,)."""
    limit = REDUCED if options.reduced else FULL
    if options.bits == 4:
        return stored_in_4_bits(graph, product.name, product.weights, limit=limit)
    scales = (np.maximum(np.abs(product.weights).max(axis=0), 1e-8) / limit).astype(np.float32)
    numbers = np.clip(np.round(product.weights / scales), -limit, limit).astype(np.int8)
    return graph.add_constant(f"{product.name}_int8", numbers), scales
