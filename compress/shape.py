"""The student's shape; loads neither torch nor transformers."""

from dataclasses import dataclass

from compress.errors import UserError


@dataclass(frozen=True, kw_only=True)
class StudentShape:
    """Layers, hidden width, feed-forward width and attention heads of a BERT."""

    layers: int
    width: int
    ffn_width: int
    heads: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"student.{name} is {value}; expected at least 1")
        if self.width % self.heads:
            raise UserError(f"student.width {self.width} is not a multiple of student.heads {self.heads}")


PRESETS = {
    "tinybert4": StudentShape(layers=4, width=312, ffn_width=1200, heads=12),
    "tinybert4-384": StudentShape(layers=4, width=384, ffn_width=1536, heads=12),
    "tinybert6": StudentShape(layers=6, width=768, ffn_width=3072, heads=12),
}
