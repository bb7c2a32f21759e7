"""The variants by name; loads neither torch nor onnxruntime."""

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


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How the products' weights and the embedding are stored and computed. fp16 has all of it in fp16."""

    weights: Weights
    embedding: Embedding

    @property
    def name(self) -> str:
        """The weights' name, with the embedding's where that is not the usual one."""
        usual = OWN_EMBEDDING.get(self.weights, self.embedding)
        return self.weights if self.embedding == usual else f"{self.weights}-{self.embedding}-embedding"

    @property
    def is_calibrated(self) -> bool:
        """Whether the ranges of its activations are taken from calibration rows."""
        return self.weights in CALIBRATED


_ALL = [
    Variant(weights=weights, embedding=embedding)
    for weights in get_args(Weights)
    for embedding in (("fp32",) if weights == "fp16" else get_args(Embedding))
]
VARIANTS = {variant.name: variant for variant in _ALL}
DEFAULT_VARIANTS = ("fp32", "int8-dynamic", "int8-static", "int4-static")
