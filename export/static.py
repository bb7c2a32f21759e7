"""int8 with fixed ranges of activations: the dynamically quantised graph, its ranges replaced by calibrated ones.

The library's own static quantiser fails on a fused graph. The dynamic one quantises all of it, attention included;
what it finds anew for each batch is put in as constants here, so that a text's answer no longer depends on its batch.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

from export.ranges import Range, measure_ranges

MICROSOFT = "com.microsoft"


def fix_ranges(dynamic: Path, batches: Iterable[Mapping[str, np.ndarray]], target: Path, *, share: float = 1.0) -> int:
    """Write the graph with ranges measured over `batches`; returns how many were fixed. `share` as in measure_ranges.

    DynamicQuantizeLinear becomes QuantizeLinear with a constant scale and zero point; MatMulInteger, Cast and Mul
    become MatMulIntegerToFloat, which the runtime itself makes of the dynamic pattern alone.
    """
    model = onnx.load(str(dynamic))
    quantised = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    ranges = measure_ranges(dynamic, [node.input[0] for node in quantised], batches, share=share)
    for node in quantised:
        _fix(model.graph, node, ranges[node.input[0]])
    _fuse_products(model.graph)
    if all(entry.domain != MICROSOFT for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, 1))
    onnx.save(model, str(target))
    return len(quantised)


def _fix(graph: onnx.GraphProto, node: onnx.NodeProto, measured: Range) -> None:
    values, scale, zero_point = node.output
    graph.initializer.append(numpy_helper.from_array(np.array(measured.scale), scale))
    graph.initializer.append(numpy_helper.from_array(np.array(measured.zero_point), zero_point))
    index = list(graph.node).index(node)
    graph.node.remove(node)
    graph.node.insert(index, make_node("QuantizeLinear", [node.input[0], scale, zero_point], [values]))


def _fuse_products(graph: onnx.GraphProto) -> None:
    made_by = {output: node for node in graph.node for output in node.output}
    for node in list(graph.node):
        if node.op_type != "Mul":
            continue
        cast, scales = (made_by.get(name) for name in node.input)
        if cast is None or scales is None or cast.op_type != "Cast" or scales.op_type != "Mul":
            continue
        product = made_by[cast.input[0]]
        if product.op_type != "MatMulInteger":
            continue
        left, right, left_zero, right_zero = product.input
        fused = make_node(
            "MatMulIntegerToFloat",
            [left, right, *scales.input, left_zero, right_zero],
            list(node.output),
            domain=MICROSOFT,
        )
        index = list(graph.node).index(node)
        graph.node.insert(index, fused)
        for old in (node, cast, product, scales):
            graph.node.remove(old)
