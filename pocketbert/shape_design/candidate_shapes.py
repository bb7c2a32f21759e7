"""The shapes that a student can have under its teacher, and what each computes and stores. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

from compress.models.compatibility import EncoderFacts
from compress.models.shape import PRESETS, StudentShape

HEAD_WIDTH = 64  # columns per head that int8 kernels compute fastest
WIDTHS = (32, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768)
FFN_RATIOS = (2, 3, 4)
MOST_LAYERS, FEWEST_LAYERS = 6, 2
REFERENCE = PRESETS["tinybert4"]
EMBEDDING_BLOCKS = {"int8-static": (8, 512), "int4-static": (4, 64)}  # bits, and columns that share a scale
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest student: the teacher's facts. `vocab_size`: of the student, which may be pruned."""

    layers: int
    width: int
    ffn_width: int
    heads: int
    vocab_size: int
    positions: int

    @classmethod
    def of(cls, teacher: EncoderFacts, vocab_size: int | None = None) -> "Limits":
        """The limits of a student that starts as its projected teacher."""
        return cls(
            layers=teacher.layers,
            width=teacher.width,
            ffn_width=teacher.ffn_width,
            heads=teacher.heads,
            vocab_size=min(vocab_size or teacher.vocab_size, teacher.vocab_size),
            positions=teacher.max_tokens,
        )

    def allow(self, shape: StudentShape) -> bool:
        """Whether a student of this shape can start as its projected teacher."""
        return all(getattr(shape, name) <= getattr(self, name) for name in ("layers", "width", "ffn_width", "heads"))


BERT_BASE = Limits(layers=12, width=768, ffn_width=3072, heads=12, vocab_size=30522, positions=512)


def candidate_shapes(limits: Limits) -> list[StudentShape]:
    """All shapes: presets, and 2 to 6 layers with heads of 64 columns at most. The fewest products first."""
    depths = range(FEWEST_LAYERS, MOST_LAYERS + 1)
    grid = (
        StudentShape(layers=layers, width=width, ffn_width=ratio * width, heads=max(1, width // HEAD_WIDTH))
        for layers, width, ratio in product(depths, WIDTHS, FFN_RATIOS)
    )
    allowed = dict.fromkeys(shape for shape in (*PRESETS.values(), *grid) if limits.allow(shape))
    return sorted(allowed, key=lambda shape: num_products(shape, 1))


def num_products(shape: StudentShape, tokens: int) -> int:
    """Multiplications of one text with the exported graph, whose last layer computes the first position only."""
    width, ffn = shape.width, shape.ffn_width
    whole = tokens * (4 * width**2 + 2 * width * ffn) + 2 * tokens**2 * width
    last = 4 * width**2 + 2 * width * ffn + 2 * tokens * width * shape.heads
    return (shape.layers - 1) * whole + last


def embedding_bytes(width: int, num_tokens: int, variant: str) -> int:
    """The bytes of so many rows of the word embedding, with their scales."""
    bits, block = EMBEDDING_BLOCKS[variant]
    if width % 2:
        bits, block = EMBEDDING_BLOCKS["int8-static"]
    return num_tokens * (width * bits // 8 + FLOAT_BYTES * ceil(width / block))


def to_compare(shapes: Sequence[StudentShape], count: int) -> list[StudentShape]:
    """The first of the shapes, and the first of each further number of layers, at most `count`."""
    by_depth: dict[int, StudentShape] = {}
    for shape in shapes:
        by_depth.setdefault(shape.layers, shape)
    return list(by_depth.values())[:count]
