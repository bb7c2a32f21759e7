"""Weights in 4 bits that become int8 when onnxruntime loads the model."""

import numpy as np
from onnx import TensorProto

from export.graph.rewriter import Graph, make_node
from export.quantisation.blockwise import SCALE_RATIOS, WEIGHT_BLOCKS
from export.quantisation.nibbles import pack_halves, unpack_halves, unpacking_nodes

BLOCK_SIZE = WEIGHT_BLOCKS[4]


def add_4_bit_weights(graph: Graph, name: str, weights: np.ndarray, *, limit: int) -> tuple[str, np.ndarray]:
    """Store weights (rows, columns) in 4 bits. Returns the name of the int8 tensor and its scales (columns,).

    int8 weight = number (-7 to 7) * integer multiplier, one multiplier per block of 32 rows and column. All inputs are
    constant, so onnxruntime unpacks the weights to int8 when it loads the model. `limit`: the largest int8 weight. The
    number of rows must be even.
    """
    numbers, multipliers, scales = _quantise_in_two_levels(weights, limit // 7)
    num_rows = len(weights)
    packed = graph.add_constant(f"{name}_4bit", pack_halves(numbers, axis=0))
    stored_multipliers = graph.add_constant(f"{name}_multipliers", multipliers.astype(np.int8))
    blocks = graph.add_constant(f"block_of_{num_rows}_rows", np.arange(num_rows) // BLOCK_SIZE)
    short = f"w{len(graph.constants)}"  # in a small model, long names take more bytes than 4-bit weights save
    unpacking = [
        *unpacking_nodes(graph, packed, f"{short}_numbers", axis=0),
        make_node("Gather", [stored_multipliers, blocks], f"{short}_by_row"),
        make_node("Cast", [f"{short}_by_row"], f"{short}_multipliers", to=TensorProto.FLOAT),
        make_node("Mul", [f"{short}_numbers", f"{short}_multipliers"], f"{short}_product"),
        make_node("Cast", [f"{short}_product"], f"{name}_int8", to=TensorProto.INT8),
    ]
    graph.insert_before(graph.nodes[0], unpacking)
    return f"{name}_int8", scales


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
    numbers = unpack_halves(graph.array(f"{stored}_4bit"), axis=0)
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
