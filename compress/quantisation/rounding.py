"""The rounding of the static export variants, in torch. The export has the same rules in numpy."""

import torch
from torch import Tensor, nn

WEIGHT_BLOCK = 32  # inputs of one output that share a 4-bit multiplier
EMBEDDING_BLOCKS = {8: 512, 4: 64}  # columns of one row that share a scale, by bits
RATIOS = [0.70 + 0.03 * number for number in range(11)]  # of 4-bit steps, relative to the largest useful one
SMALLEST = 1e-8


def round_8_bit_weights(weight: Tensor, largest: int) -> Tensor:
    """Weights (outputs, inputs), rounded to -`largest` .. `largest` times a scale per output."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST) / largest
    return (weight / scale).round().clamp(-largest, largest) * scale


def round_4_bit_weights(weight: Tensor, largest: int) -> Tensor:
    """Weights (outputs, inputs), rounded to -7 .. 7 times an integer multiplier per block times a scale per output.

    Of the candidate multipliers of a block of 32 inputs, the one with the least squared error is used.
    """
    outputs, inputs = weight.shape
    most = largest // 7
    blocks = nn.functional.pad(weight, (0, -inputs % WEIGHT_BLOCK)).view(outputs, -1, WEIGHT_BLOCK)
    peaks = blocks.abs().amax(dim=2)
    scale = peaks.amax(dim=1, keepdim=True).clamp(min=SMALLEST) / (7 * most)
    best, least = torch.zeros_like(blocks), torch.full_like(peaks, torch.inf)
    for ratio in RATIOS:
        steps = ((ratio * peaks / 7 / scale).round().clamp(1, most) * scale)[..., None]
        rounded = (blocks / steps).round().clamp_(-7, 7).mul_(steps)
        error = (rounded - blocks).square_().sum(dim=2)
        is_better = error < least
        least = torch.where(is_better, error, least)
        best = torch.where(is_better[..., None], rounded, best)
    return best.view(outputs, -1)[:, :inputs]


def round_rows(rows: Tensor, bits: int) -> Tensor:
    """Rows (..., width) of an embedding, rounded with a scale per block of columns. A row of odd width has 8 bits.

    The value of the largest magnitude maps to the lowest number. With 4 bits, smaller scales are also tried, and that
    with the least squared error is used.
    """
    width = rows.shape[-1]
    bits = bits if width % 2 == 0 else 8
    size, half = EMBEDDING_BLOCKS[bits], 2 ** (bits - 1)
    blocks = nn.functional.pad(rows, (0, -width % size)).unflatten(-1, (-1, size))
    peaks = blocks.gather(-1, blocks.abs().argmax(dim=-1, keepdim=True))
    best, least = torch.zeros_like(blocks), torch.full_like(peaks, torch.inf)
    for ratio in RATIOS if bits == 4 else [1.0]:
        scale = torch.where(peaks == 0, 1.0, -ratio * peaks / half)
        rounded = (blocks / scale).round().clamp(-half, half - 1) * scale
        error = (rounded - blocks).square().sum(dim=-1, keepdim=True)
        is_better = error < least
        least, best = torch.where(is_better, error, least), torch.where(is_better, rounded, best)
    return best.flatten(-2)[..., :width]
