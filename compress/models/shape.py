"""The student's shape and its layer map. Importing this module loads neither torch nor transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compress.common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class StudentShape:
    """The numbers of layers and attention heads of a BERT, its hidden width and its feed-forward width."""

    layers: int
    width: int
    ffn_width: int
    heads: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"the student's {name} is {value}; expected at least 1")
        if self.width % self.heads:
            raise UserError(f"the student's width {self.width} is not a multiple of its heads {self.heads}")


PRESETS = {
    "tinybert4": StudentShape(layers=4, width=312, ffn_width=1200, heads=12),
    "tinybert4-384": StudentShape(layers=4, width=384, ffn_width=1536, heads=12),
    "fast4": StudentShape(layers=4, width=320, ffn_width=1152, heads=5),
    "fast3": StudentShape(layers=3, width=384, ffn_width=1152, heads=6),
    "tinybert6": StudentShape(layers=6, width=768, ffn_width=3072, heads=12),
}

LayerMapRule = Literal["uniform", "top", "bottom"]
LayerMap = LayerMapRule | Sequence[int]


def map_layers(layer_map: LayerMap, student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """The teacher layer g(m), counted from 1, for each student layer m = 1..M. N: the number of teacher layers.

    "uniform": g(m) = m N / M, rounded to the nearest integer, so that g(M) = N. "top": g(m) = m + N - M. "bottom":
    g(m) = m. A sequence contains the teacher layers themselves. Raises UserError for a layer map that does not fit.
    TinyBERT, section 3.1 and table 4.
    """
    if student_layers > teacher_layers:
        raise UserError(
            f"the student has {student_layers} layers, more than the teacher's {teacher_layers}", option="layers"
        )
    layers = range(1, student_layers + 1)
    match layer_map:
        case "uniform":
            return tuple(round(m * teacher_layers / student_layers) for m in layers)
        case "top":
            return tuple(m + teacher_layers - student_layers for m in layers)
        case "bottom":
            return tuple(layers)
    mapped_layers = tuple(int(layer) for layer in layer_map)
    if len(mapped_layers) != student_layers or not all(1 <= layer <= teacher_layers for layer in mapped_layers):
        raise UserError(
            f"got the layer map {list(mapped_layers)}; expected {student_layers} teacher layers, one per student "
            f"layer, from 1 to {teacher_layers}",
            option="layer_map",
        )
    return mapped_layers
