"""int8 attention: scores and context as integer products, with fixed ranges of Q, K, V and the probabilities.

No sum of two products leaves 16 bits, so no processor saturates. Q is uint8 and K from -64 to 63, and 2 * 255 * 64 <
2^15. Probabilities are uint8 in steps of 1 / 255; those of a query sum to 1, and 255 * 127 < 2^15.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from export.graph.attention import SeparateAttention
from export.graph.operators import ATTENTION_NODES
from export.graph.rewriter import Graph, make_node
from export.quantisation.activation_ranges import ActivationRange

KEY_LIMITS = (-64, 63)
VALUE_LIMIT = 127
PROBABILITY_STEPS = 255


def quantised_tensors(layer: SeparateAttention) -> Iterable[str]:
    """The tensors whose ranges `quantise_attention` needs."""
    return layer.query, layer.key, layer.value, layer.output


def quantise_attention(graph: Graph, layer: SeparateAttention, ranges: Mapping[str, ActivationRange]) -> None:
    """Replace the two products of an attention by integer ones, and quantise its output for the next product."""
    query, key, value, output = (ranges[name] for name in quantised_tensors(layer))
    key_scale, value_scale = _symmetric(key, KEY_LIMITS[1]), _symmetric(value, VALUE_LIMIT)
    zero = np.int8(0)
    _quantise_projection(graph, layer.query, query.scale, query.zero_point)
    _quantise_projection(graph, layer.key, key_scale, zero, limits=KEY_LIMITS)
    _quantise_projection(graph, layer.value, value_scale, zero)
    step = graph.add_constant("probability_scale", np.float32(1 / PROBABILITY_STEPS))
    no_offset = graph.add_constant("probability_zero_point", np.uint8(0))
    quantised_probabilities = f"{layer.probabilities}_uint8"
    context = graph.computed_by(layer.context)
    graph.insert_before(
        context, [make_node("QuantizeLinear", [layer.probabilities, step, no_offset], quantised_probabilities)]
    )
    graph.replace(
        graph.computed_by(layer.scores),
        [
            make_node(
                "MatMulIntegerToFloat",
                [
                    f"{layer.query}_by_head", f"{layer.key}_by_head",
                    f"{layer.query}_scale", f"{layer.key}_scale", f"{layer.query}_zero_point",
                ],
                layer.scores,
                microsoft=True,
                name=f"{ATTENTION_NODES}{layer.scores}",
            )
        ],
    )  # fmt: skip
    graph.replace(
        context,
        [
            make_node(
                "MatMulIntegerToFloat",
                [quantised_probabilities, f"{layer.value}_by_head", step, f"{layer.value}_scale", no_offset],
                layer.context,
                microsoft=True,
                name=f"{ATTENTION_NODES}{layer.context}",
            )
        ],
    )
    _quantise_output(graph, layer, output)


def _symmetric(measured: ActivationRange, limit: int) -> np.float32:
    return np.float32(max(-measured.low, measured.high, 1e-6) / limit)


def _quantise_projection(
    graph: Graph, name: str, scale: np.float32, zero_point: np.generic, *, limits: tuple[int, int] | None = None
) -> None:
    """Quantise Q, K or V before it is split into heads. `limits`: clips to less than the type has."""
    (split,) = graph.users(name)
    quantised = f"{name}_{zero_point.dtype}"
    parameters = [graph.add_constant(f"{name}_scale", scale), graph.add_constant(f"{name}_zero_point", zero_point)]
    nodes = [make_node("QuantizeLinear", [name, *parameters], quantised)]
    if limits is not None:
        low, high = (graph.add_constant(f"int8_{limit}", np.int8(limit)) for limit in limits)
        nodes.append(make_node("Clip", [quantised, low, high], f"{quantised}_clipped"))
        quantised = f"{quantised}_clipped"
    graph.insert_before(split, nodes)
    split.input[0] = quantised


def _quantise_output(graph: Graph, layer: SeparateAttention, output: ActivationRange) -> None:
    """Quantise the context before its heads are merged, because bytes are faster to move than floats."""
    merge = graph.computed_by(layer.output)
    (transpose,) = graph.users(layer.context)
    parameters = [
        graph.add_constant(f"{layer.output}_scale", output.scale),
        graph.add_constant(f"{layer.output}_zero_point", output.zero_point),
    ]
    quantise = make_node("QuantizeLinear", [layer.context, *parameters], f"{layer.context}_uint8")
    graph.insert_before(transpose, [quantise])
    transpose.input[0] = f"{layer.context}_uint8"
    merge.output[0] = f"{layer.output}_uint8"  # the name under which the next product looks for its input


def head_weights(graph: Graph) -> dict[str, np.ndarray]:
    """Constant weights of products per head, (heads, rows, columns), by name."""
    names = [matmul.input[1] for matmul in graph.of_type("MatMul")]
    return {name: graph.array(name) for name in names if name in graph.constants and graph.array(name).ndim == 3}
