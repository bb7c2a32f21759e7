"""The export variants by name. Loads neither torch nor onnxruntime."""

from dataclasses import dataclass
from typing import Literal, get_args

Weights = Literal["fp32", "fp16", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight"]
Embedding = Literal["fp32", "int8", "int4"]

CALIBRATED: tuple[Weights, ...] = ("int8-static", "int4-static")
FOR_GPU: tuple[Weights, ...] = ("fp32", "fp16")  # onnxruntime's CUDA provider does not run int8
OWN_EMBEDDING: dict[Weights, Embedding] = {
    "fp32": "fp32",
    "int8-dynamic": "int8",
    "int8-static": "int8",
    "int4-static": "int4",
    "int8-weight": "int8",
    "int4-weight": "int4",
}


def largest_weight(*, reduced: bool) -> int:
    """The largest magnitude of int8 weights. `reduced`: 7 bits; two products of 64 and 255 add up to less than 2^15."""
    return 64 if reduced else 127


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The formats of the MatMul weights and of the embedding. fp16 applies to both at once."""

    weights: Weights
    embedding: Embedding

    @property
    def name(self) -> str:
        """The format of the weights, followed by that of the embedding unless it is the default."""
        default = OWN_EMBEDDING.get(self.weights, self.embedding)
        return self.weights if self.embedding == default else f"{self.weights}-{self.embedding}-embedding"

    @property
    def is_calibrated(self) -> bool:
        """Whether calibration rows determine the ranges of its activations."""
        return self.weights in CALIBRATED


_ALL = [
    Variant(weights=weights, embedding=embedding)
    for weights in get_args(Weights)
    for embedding in (("fp32",) if weights == "fp16" else get_args(Embedding))
]
VARIANTS = {variant.name: variant for variant in _ALL}
DEFAULT_VARIANTS = ("fp32", "int8-dynamic", "int8-static", "int4-static")
