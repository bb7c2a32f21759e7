"""Block-wise quantisation to 8 or 4 bits, with one scale per block; weights for `MatMulNBits`."""

import numpy as np

from export.graph.matmuls import constant_matmuls
from export.graph.rewriter import Graph, make_node

WEIGHT_BLOCKS = {8: 128, 4: 32}  # block size by bits
SCALE_RATIOS = tuple(np.arange(0.70, 1.01, 0.03))  # candidate scales, relative to the largest useful one


def quantise_blockwise(values: np.ndarray, bits: int, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantise blocks of columns: unsigned numbers (rows, blocks, block_size), and scales (rows, blocks).

    value = scale * (number - 2^(bits - 1)), as `MatMulNBits` defines it. There is one more negative number than
    positive ones, so the value of largest magnitude maps to the lowest number. With 4 bits, also tries smaller scales,
    which clip that value, and keeps the scale with the smallest squared error. The last block is padded with zeros.
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
