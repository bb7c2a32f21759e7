"""Block-wise quantisation of weights and embeddings to 8 or 4 bits, with one scale per block."""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from export.graph.matmuls import constant_matmuls
from export.graph.rewriter import OPSET, Graph, attribute, make_node

EMBEDDING_BLOCKS = {8: 512, 4: 64}  # block size by bits
WEIGHT_BLOCKS = {8: 128, 4: 32}
TOKEN_IDS = "input_ids"  # the indices into the table of word embeddings
MIN_TABLE_ROWS = 16  # smaller tables, as that of token types, are not worth quantising
SCALE_RATIOS = tuple(np.arange(0.70, 1.01, 0.03))  # candidate scales, relative to the largest useful one


def quantise_blockwise(values: np.ndarray, bits: int, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantise blocks of columns: unsigned numbers (rows, blocks, block_size), and scales (rows, blocks).

    value = scale * (number - 2^(bits - 1)), as `MatMulNBits` and `GatherBlockQuantized` define it. There is one more
    negative number than positive ones, so the value of largest magnitude maps to the lowest number. With 4 bits, also
    tries smaller scales, which clip that value, and keeps the scale with the smallest squared error. The last block is
    padded with zeros.
    """
    rows, columns = values.shape
    blocks = np.zeros((rows, -(-columns // block_size) * block_size), dtype=np.float32)
    blocks[:, :columns] = values
    blocks = blocks.reshape(rows, -1, block_size)
    half = 2 ** (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)[..., 0]
    best_error = np.full(largest.shape, np.inf, dtype=np.float32)
    best_numbers, best_scales = np.zeros_like(blocks), np.ones_like(largest)
    for ratio in SCALE_RATIOS if bits < 8 else (1.0,):
        scales = np.where(largest == 0, 1.0, -ratio * largest / half).astype(np.float32)
        numbers = np.clip(np.round(blocks / scales[..., None]), -half, half - 1)
        error = ((numbers * scales[..., None] - blocks) ** 2).sum(axis=-1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_numbers = np.where(better[..., None], numbers, best_numbers)
        best_scales = np.where(better, scales, best_scales)
    return (best_numbers + half).astype(np.uint8), best_scales


def pack(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned numbers as bytes. With 4 bits, two adjacent numbers share a byte; the first has the low bits."""
    return numbers if bits == 8 else numbers[..., 0::2] | (numbers[..., 1::2] << 4)


def quantise_embeddings(graph: Graph, bits: int) -> int:
    """Replace embedding look-ups by `GatherBlockQuantized`. Returns how many were replaced.

    Word embeddings, two thirds of a small BERT, get `bits` bits, or 8 if their width is odd. Position embeddings get 8.
    """
    gathers = [gather for gather in graph.of_type("Gather") if _looks_up_rows(graph, gather)]
    for gather in gathers:
        name, index = gather.input
        table = graph.array(name)
        own_bits = bits if index == TOKEN_IDS and table.shape[1] % 2 == 0 else 8  # a byte holds two numbers of one row
        block_size = EMBEDDING_BLOCKS[own_bits]
        numbers, scales = quantise_blockwise(table, own_bits, block_size)
        numbers = numbers.reshape(table.shape[0], -1)[:, : table.shape[1]]
        lookup = make_node(
            "GatherBlockQuantized",
            [
                graph.add_constant(f"{name}_numbers", pack(numbers, own_bits)),
                index,
                graph.add_constant(f"{name}_scales", scales),
            ],
            gather.output[0],
            microsoft=True,
            bits=own_bits,
            block_size=block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        graph.replace(gather, [lookup])
    return len(gathers)


def _looks_up_rows(graph: Graph, gather: NodeProto) -> bool:
    """Whether a Gather reads rows of a constant table."""
    name = gather.input[0]
    shape = tuple(graph.constants[name].dims) if name in graph.constants else ()
    return len(shape) == 2 and shape[0] >= MIN_TABLE_ROWS and attribute(gather, "axis", 0) == 0


def quantise_weights(graph: Graph, bits: int) -> int:
    """Replace every multiplication but the last by `MatMulNBits`. Returns how many were replaced.

    Accuracy level 4 quantises activations to int8 with a scale per block of each row, so the output does not depend on
    the batch. Q, K and V are quantised only if attention is a MultiHeadAttention.
    """
    block_size = WEIGHT_BLOCKS[bits]
    matmuls = list(constant_matmuls(graph))
    for matmul in matmuls:
        rows, columns = matmul.weights.shape
        numbers, scales = quantise_blockwise(matmul.weights.T, bits, block_size)
        inputs = [
            matmul.input,
            graph.add_constant(f"{matmul.name}_numbers", pack(numbers, bits)),
            graph.add_constant(f"{matmul.name}_scales", scales.reshape(-1)),
        ]
        if matmul.bias is not None:
            inputs += ["", "", matmul.bias]
        quantised = make_node(
            "MatMulNBits",
            inputs,
            matmul.node.output[0],
            microsoft=True,
            K=rows,
            N=columns,
            bits=bits,
            block_size=block_size,
            accuracy_level=4,
        )
        graph.replace(matmul.node, [quantised])
    return len(matmuls)


def add_4_bit_weights(graph: Graph, name: str, weights: np.ndarray, *, limit: int) -> tuple[str, np.ndarray]:
    """Store weights (rows, columns) in 4 bits. Returns the name of the int8 tensor and its scales (columns,).

    int8 weight = number (-7 to 7) * integer multiplier, one multiplier per block of 32 rows and column. All inputs are
    constant, so onnxruntime unpacks the weights to int8 when it loads the model. `limit`: the largest int8 weight.
    """
    block_size = WEIGHT_BLOCKS[4]
    numbers, multipliers, scales = _quantise_in_two_levels(weights, block_size, limit // 7)
    rows, columns = weights.shape
    nibbles = np.zeros(-(-rows * columns // 2) * 2, dtype=np.uint8)
    nibbles[: rows * columns] = numbers.reshape(-1).astype(np.int8).view(np.uint8) & 0xF
    graph.require_opset(OPSET)
    tensors = [
        graph.add_tensor(
            helper.make_tensor(f"{name}_4bit", TensorProto.INT4, weights.shape, pack(nibbles, 4).tobytes(), raw=True)
        ),
        graph.add_constant(f"{name}_multipliers", multipliers.astype(np.int8)),
        graph.add_constant(f"block_of_{rows}_rows", np.arange(rows) // block_size),
    ]
    unpacking = [
        make_node("Cast", [tensors[0]], f"{name}_wide", to=TensorProto.FLOAT),
        make_node("Cast", [tensors[1]], f"{name}_multipliers_wide", to=TensorProto.FLOAT),
        make_node("Gather", [f"{name}_multipliers_wide", tensors[2]], f"{name}_multipliers_by_row", axis=0),
        make_node("Mul", [f"{name}_wide", f"{name}_multipliers_by_row"], f"{name}_product"),
        make_node("Cast", [f"{name}_product"], f"{name}_int8", to=TensorProto.INT8),
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
    numbers, multipliers = graph.array(f"{stored}_4bit").astype(np.int8), graph.array(f"{stored}_multipliers")
    return numbers * multipliers[np.arange(len(numbers)) // WEIGHT_BLOCKS[4]]


def _quantise_in_two_levels(
    weights: np.ndarray, block_size: int, max_multiplier: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (rows, columns), multipliers (blocks, columns) from 1 to `max_multiplier`, and scales (columns,)."""
    rows, columns = weights.shape
    blocks = np.zeros((-(-rows // block_size) * block_size, columns), dtype=np.float32)
    blocks[:rows] = weights
    blocks = blocks.reshape(-1, block_size, columns)
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
