"""Quantisation-aware training: a student that computes with rounded weights, embeddings and inputs of linear layers.

The forward pass has the rounding errors of a static export variant, so training moves the weights to where rounding
costs least. The backward pass takes the derivative of rounding as 1, the straight-through estimator (Bengio et al.
2013, arXiv:1308.3432; Jacob et al. 2018, arXiv:1712.05877). The weights themselves stay fp32.

Not simulated: the int8 products of attention itself, and the layout of the last layer, whose keys and values are
rounded in groups of other columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from compress.models.layout import encoder_modules
from compress.quantisation.rounding import round_4_bit_weights, round_8_bit_weights, round_rows


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """The rounding of a static variant.

    `weight_bits`, `embedding_bits`: 8 or 4. `largest_weight`: of the int8 numbers, 64 or 127. Position embeddings have
    8 bits in all variants.
    """

    weight_bits: int
    embedding_bits: int
    largest_weight: int


@contextmanager
def simulated_quantisation(model: PreTrainedModel, rounding: Rounding) -> Iterator[None]:
    """Inside this context, the model computes with rounded numbers, in training and in evaluation.

    Its state then has other keys. Afterwards it has its own weights, unrounded. Raises UserError for an architecture
    without the layout of BERT.
    """
    encoder = encoder_modules(model)
    linears = [
        linear
        for layer in encoder.layers
        for linear in (
            *(layer.query, layer.key, layer.value, layer.attention_output),
            *(layer.ffn_input, layer.ffn_output),
        )
    ]
    if encoder.head is not None:
        linears.append(encoder.head.dense)
    handles = [linear.register_forward_pre_hook(_round_input) for linear in linears]
    for embedding, bits in ((encoder.word, rounding.embedding_bits), (encoder.position, 8)):
        handles.append(embedding.register_forward_hook(_RoundOutput(bits)))
    for linear in linears:
        parametrize.register_parametrization(linear, "weight", _RoundWeight(rounding))
    try:
        yield
    finally:
        for linear in linears:
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
        for handle in handles:
            handle.remove()


class _RoundWeight(nn.Module):
    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        self.rounding = rounding

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight (outputs, inputs)."""
        largest = self.rounding.largest_weight
        round_ = round_4_bit_weights if self.rounding.weight_bits == 4 else round_8_bit_weights
        return _straight_through(weight, round_(weight.detach(), largest))


class _RoundOutput:
    """A forward hook of an embedding."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return _straight_through(output, round_rows(output.detach(), self.bits))


def _round_input(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    """A forward pre-hook: round the input to uint8, with the range of this batch."""
    low, high = torch.aminmax(args[0].detach())
    scale = (high.clamp(min=0) - low.clamp(max=0)).float().clamp(min=1e-6) / 255
    zero_point = (-low.clamp(max=0) / scale).round().clamp(0, 255).int()
    return (torch.fake_quantize_per_tensor_affine(args[0], scale, zero_point, 0, 255),)


def _straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, whose gradient is that of `values`."""
    return values + (rounded - values).detach()
