"""Weights and embeddings in 8 or 4 bits by blocks: each with a scale of its own, activations in fp32."""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from export.graph.matmuls import constant_matmuls
from export.graph.rewriter import OPSET, Graph, attribute, node

EMBEDDING_BLOCKS = {8: 512, 4: 64}
WEIGHT_BLOCKS = {8: 128, 4: 32}
WORDS = "input_ids"  # what the table of words is looked up by
FEW_ROWS = 16  # a table of token types: nothing to win
SEARCHED = tuple(np.arange(0.70, 1.01, 0.03))


def quantise_blocks(values: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of `block` columns: unsigned numbers (rows, blocks, block), and scales (rows, blocks).

    value = scale * (number - 2^(bits - 1)), as `MatMulNBits` and `GatherBlockQuantized` read them. The value of
    largest size falls on the lowest number, as there is one more low number than high ones; of several scales below
    that (which cut the largest off) the one with the least squared error is taken. The last block is filled with zeros.
    """
    rows, columns = values.shape
    blocks = np.zeros((rows, -(-columns // block) * block), dtype=np.float32)
    blocks[:, :columns] = values
    blocks = blocks.reshape(rows, -1, block)
    half = 2 ** (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)[..., 0]
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)
    best_numbers, best_scales = np.zeros_like(blocks), np.ones_like(largest)
    for ratio in SEARCHED if bits < 8 else (1.0,):
        scales = np.where(largest == 0, 1.0, -ratio * largest / half).astype(np.float32)
        numbers = np.clip(np.round(blocks / scales[..., None]), -half, half - 1)
        error = ((numbers * scales[..., None] - blocks) ** 2).sum(axis=-1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_numbers = np.where(better[..., None], numbers, best_numbers)
        best_scales = np.where(better, scales, best_scales)
    return (best_numbers + half).astype(np.uint8), best_scales


def packed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned numbers as bytes: of 4 bits two in each, the first below."""
    return numbers if bits == 8 else numbers[..., 0::2] | (numbers[..., 1::2] << 4)


def quantise_embeddings(graph: Graph, bits: int) -> int:
    """Every table that a Gather looks up by `bits` (positions by 8), in `GatherBlockQuantized`; returns how many.

    Word embeddings are two thirds of a small BERT.
    """
    found = [gather for gather in graph.of_type("Gather") if _looks_up(graph, gather)]
    for gather in found:
        name, index = gather.input
        table = graph.array(name)
        own_bits = bits if index == WORDS and table.shape[1] % 2 == 0 else 8  # two numbers to a byte, by rows
        block = EMBEDDING_BLOCKS[own_bits]
        numbers, scales = quantise_blocks(table, own_bits, block)
        numbers = numbers.reshape(table.shape[0], -1)[:, : table.shape[1]]
        lookup = node(
            "GatherBlockQuantized",
            [
                graph.add_constant(f"{name}_numbers", packed(numbers, own_bits)),
                index,
                graph.add_constant(f"{name}_scales", scales),
            ],
            gather.output[0],
            microsoft=True,
            bits=own_bits,
            block_size=block,
            gather_axis=0,
            quantize_axis=1,
        )
        graph.replace(gather, [lookup])
    return len(found)


def _looks_up(graph: Graph, gather: NodeProto) -> bool:
    """Whether it takes rows of a constant table."""
    name = gather.input[0]
    shape = tuple(graph.constants[name].dims) if name in graph.constants else ()
    return len(shape) == 2 and shape[0] >= FEW_ROWS and attribute(gather, "axis", 0) == 0


def quantise_weights(graph: Graph, bits: int) -> int:
    """Every product but the last in `MatMulNBits`; returns how many.

    Accuracy level 4: activations in int8 with a scale for each block of each row, so that answers do not depend on the
    batch. Needs attention as MultiHeadAttention, else Q, K and V stay as they are.
    """
    block = WEIGHT_BLOCKS[bits]
    found = list(constant_matmuls(graph))
    for product in found:
        rows, columns = product.weights.shape
        numbers, scales = quantise_blocks(product.weights.T, bits, block)
        inputs = [
            product.input,
            graph.add_constant(f"{product.name}_numbers", packed(numbers, bits)),
            graph.add_constant(f"{product.name}_scales", scales.reshape(-1)),
        ]
        if product.bias is not None:
            inputs += ["", "", product.bias]
        multiplied = node(
            "MatMulNBits",
            inputs,
            product.node.output[0],
            microsoft=True,
            K=rows,
            N=columns,
            bits=bits,
            block_size=block,
            accuracy_level=4,
        )
        graph.replace(product.node, [multiplied])
    return len(found)


def stored_in_4_bits(graph: Graph, name: str, weights: np.ndarray, *, limit: int) -> tuple[str, np.ndarray]:
    """Weights (rows, columns) kept in 4 bits, and int8 once the model is loaded; returns the int8 tensor and its
    scales (columns,).

    int8 weight = number (-7 to 7) times a whole multiplier for each block of 32 rows in a column: with constant inputs
    the runtime unpacks them when it loads the model. `limit`: the largest int8 weight.
    """
    block = WEIGHT_BLOCKS[4]
    numbers, multipliers, scales = _in_two_levels(weights, block, limit // 7)
    rows, columns = weights.shape
    nibbles = np.zeros(-(-rows * columns // 2) * 2, dtype=np.uint8)
    nibbles[: rows * columns] = numbers.reshape(-1).astype(np.int8).view(np.uint8) & 0xF
    graph.require_opset(OPSET)
    tensors = [
        graph.add_tensor(
            helper.make_tensor(f"{name}_4bit", TensorProto.INT4, weights.shape, packed(nibbles, 4).tobytes(), raw=True)
        ),
        graph.add_constant(f"{name}_multipliers", multipliers.astype(np.int8)),
        graph.add_constant(f"block_of_{rows}_rows", np.arange(rows) // block),
    ]
    steps = [
        node("Cast", [tensors[0]], f"{name}_wide", to=TensorProto.FLOAT),
        node("Cast", [tensors[1]], f"{name}_multipliers_wide", to=TensorProto.FLOAT),
        node("Gather", [f"{name}_multipliers_wide", tensors[2]], f"{name}_multipliers_by_row", axis=0),
        node("Mul", [f"{name}_wide", f"{name}_multipliers_by_row"], f"{name}_product"),
        node("Cast", [f"{name}_product"], f"{name}_int8", to=TensorProto.INT8),
    ]
    graph.insert_before(graph.nodes[0], steps)
    return f"{name}_int8", scales


def has_int8_weights(graph: Graph, name: str) -> bool:
    """Whether a product's weights are int8, as they are or once the model is loaded."""
    if name in graph.constants:
        return graph.constants[name].data_type == TensorProto.INT8
    return f"{name.removesuffix('_int8')}_4bit" in graph.constants


def int8_weights(graph: Graph, name: str) -> np.ndarray:
    """The int8 weights (rows, columns) of a product, also where they are stored in 4 bits."""
    if name in graph.constants:
        return graph.array(name)
    stored = name.removesuffix("_int8")
    numbers, multipliers = graph.array(f"{stored}_4bit").astype(np.int8), graph.array(f"{stored}_multipliers")
    return numbers * multipliers[np.arange(len(numbers)) // WEIGHT_BLOCKS[4]]


def _in_two_levels(weights: np.ndarray, block: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (rows, columns), multipliers (blocks, columns) from 1 to `most`, and scales (columns,)."""
    rows, columns = weights.shape
    blocks = np.zeros((-(-rows // block) * block, columns), dtype=np.float32)
    blocks[:rows] = weights
    blocks = blocks.reshape(-1, block, columns)
    largest = np.abs(blocks).max(axis=1)
    scales = (np.maximum(largest.max(axis=0), 1e-8) / (7 * most)).astype(np.float32)
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)
    best_numbers, best_multipliers = np.zeros_like(blocks), np.ones_like(largest)
    for ratio in SEARCHED:
        multipliers = np.clip(np.round(ratio * largest / 7 / scales), 1, most)
        steps = (multipliers * scales)[:, None]
        numbers = np.clip(np.round(blocks / steps), -7, 7)
        error = ((numbers * steps - blocks) ** 2).sum(axis=1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_numbers = np.where(better[:, None], numbers, best_numbers)
        best_multipliers = np.where(better, multipliers, best_multipliers)
    return best_numbers.reshape(-1, columns)[:rows], best_multipliers, scales
