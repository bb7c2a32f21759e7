"""Weights in 4 bits that become int8 when onnxruntime loads the model.

The unpacking nodes are standard operators with constant inputs, so every onnxruntime computes them once, at load. They
look up pairs of numbers in a table, with few and small intermediate tensors: these stay in the memory of the process.
"""

import numpy as np
from onnx import TensorProto

from export.graph.rewriter import Graph, make_node
from export.quantisation.blockwise import SCALE_RATIOS, WEIGHT_BLOCKS

BLOCK_SIZE = WEIGHT_BLOCKS[4]
TABLE = "int8_pairs"


def add_4_bit_weights(graph: Graph, name: str, weights: np.ndarray, *, limit: int) -> tuple[str, np.ndarray]:
    """Store weights (rows, columns) in 4 bits. Returns the name of the int8 tensor and its scales (columns,).

    int8 weight = number (-7 to 7) * integer multiplier, one multiplier per block of 32 rows and column. A byte holds
    the numbers of two adjacent rows, so the number of rows must be even. `limit`: the largest int8 weight.
    """
    max_multiplier = limit // 7
    numbers, multipliers, scales = _quantise_in_two_levels(weights, max_multiplier)
    num_rows, num_columns = weights.shape
    _add_table(graph, max_multiplier)
    unsigned = (numbers + 8).astype(np.uint8)
    pairs = graph.add_constant(f"{name}_4bit", unsigned[0::2] | (unsigned[1::2] << 4))
    stored_multipliers = graph.add_constant(f"{name}_multipliers", multipliers.astype(np.int8))
    byte_values = graph.add_constant("num_byte_values", np.int32(256))
    blocks = graph.add_constant(f"block_of_{num_rows // 2}_pairs", np.arange(0, num_rows, 2) // BLOCK_SIZE)
    shape = graph.add_constant(f"shape_{num_rows}x{num_columns}", [num_rows, num_columns])
    short = f"w{len(graph.constants)}"  # in a small model, long names take more bytes than 4-bit weights save
    table_end = list(graph.nodes).index(graph.producer(TABLE)) + 1
    graph.insert_before(
        graph.nodes[table_end],
        [
            make_node("Cast", [stored_multipliers], f"{short}_multipliers", to=TensorProto.INT32),
            make_node("Mul", [f"{short}_multipliers", byte_values], f"{short}_starts"),
            make_node("Gather", [f"{short}_starts", blocks], f"{short}_start_of_pair"),
            make_node("Cast", [pairs], f"{short}_bytes", to=TensorProto.INT32),
            make_node("Add", [f"{short}_bytes", f"{short}_start_of_pair"], f"{short}_index"),
            make_node("Gather", [TABLE, f"{short}_index"], f"{short}_pairs"),  # (rows / 2, columns, 2)
            make_node("Transpose", [f"{short}_pairs"], f"{short}_rows", perm=[0, 2, 1]),
            make_node("Reshape", [f"{short}_rows", shape], f"{name}_int8"),
        ],
    )
    return f"{name}_int8", scales


def _add_table(graph: Graph, max_multiplier: int) -> None:
    """Add the int8 weights (multipliers * 256, 2) of each multiplier and byte, unless the graph has them."""
    if graph.producer(TABLE) is not None:
        return
    numbers = np.stack(_pair_of_numbers(np.arange(256)), axis=1)
    pairs = graph.add_constant("number_pairs", np.where(numbers == -8, 0, numbers).astype(np.int8))  # -8 is not used
    multipliers = graph.add_constant("all_multipliers", np.arange(max_multiplier + 1, dtype=np.float32)[:, None, None])
    nodes = [
        make_node("Cast", [pairs], "number_pairs_wide", to=TensorProto.FLOAT),
        make_node("Mul", ["number_pairs_wide", multipliers], "all_pairs_wide"),
        make_node("Cast", ["all_pairs_wide"], "all_pairs", to=TensorProto.INT8),
        make_node("Reshape", ["all_pairs", graph.add_constant("shape_of_pairs", [-1, 2])], TABLE),
    ]
    graph.insert_before(graph.nodes[0], nodes)


def _pair_of_numbers(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers in the low and in the high 4 bits of each byte."""
    return (packed & 0xF).astype(np.int8) - 8, (packed >> 4).astype(np.int8) - 8


def has_int8_weights(graph: Graph, name: str) -> bool:
    """Whether a multiplication's weights are int8, as stored or after unpacking."""
    if name in graph.constants:
        return graph.constants[name].data_type == TensorProto.INT8
    return f"{name.removesuffix('_int8')}_4bit" in graph.constants


def int8_weights(graph: Graph, name: str) -> np.ndarray:
    """The int8 weights (rows, columns) of a multiplication, unpacked if they are stored in 4 bits."""
    if name in graph.constants:
        return graph.array(name)
    stored = name.removesuffix("_int8")
    pairs = np.stack(_pair_of_numbers(graph.array(f"{stored}_4bit")), axis=1)  # (rows / 2, 2, columns)
    numbers = pairs.reshape(-1, pairs.shape[-1])
    return numbers * graph.array(f"{stored}_multipliers")[np.arange(len(numbers)) // BLOCK_SIZE]


def _quantise_in_two_levels(weights: np.ndarray, max_multiplier: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (rows, columns), multipliers (blocks, columns) from 1 to `max_multiplier`, and scales (columns,)."""
    rows, columns = weights.shape
    blocks = np.zeros((-(-rows // BLOCK_SIZE) * BLOCK_SIZE, columns), dtype=np.float32)
    blocks[:rows] = weights
    blocks = blocks.reshape(-1, BLOCK_SIZE, columns)
    largest = np.abs(blocks).max(axis=1)
    scales = (np.maximum(largest.max(axis=0), 1e-8) / (7 * max_multiplier)).astype(np.float32)
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)
    best_numbers, best_multipliers = np.zeros_like(blocks), np.ones_like(largest)
    for ratio in SCALE_RATIOS:
        multipliers = np.clip(np.round(ratio * largest / 7 / scales), 1, max_multiplier)
        steps = (multipliers * scales)[:, None]
        numbers = np.clip(np.round(blocks / steps), -7, 7)
        error = ((numbers * steps - blocks) ** 2).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_numbers = np.where(better[:, None], numbers, best_numbers)
        best_multipliers = np.where(better, multipliers, best_multipliers)
    return best_numbers.reshape(-1, columns)[:rows], best_multipliers, scales
