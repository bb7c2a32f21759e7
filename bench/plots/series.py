"""The look of each system of a benchmark: the same colour, marker and dashes in all plots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from bench.plots.labels import shorten
from bench.plots.style import BLUE, GREEN, ORANGE, PURPLE, Canvas
from bench.results.benchmark import BenchmarkRow
from compress.common.escaping import plot_text

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SUFFIX = ", onnxruntime"  # left out on a phone where the name stays unique


@dataclass(frozen=True, kw_only=True)
class Series:
    """A system as the plots draw it. `short_name`: on a phone. `dashes`: as matplotlib's line styles."""

    name: str
    short_name: str
    colour: str
    marker: str
    dashes: Any
    is_recommended: bool

    def label(self, canvas: Canvas, most: float) -> str:
        """Its name on a canvas, at most this many points wide."""
        name = self.short_name if canvas.is_narrow else self.name
        return shorten(name, most, canvas.font_size, bold=self.is_recommended)

    @property
    def weight(self) -> str:
        """The font weight of its label."""
        return "bold" if self.is_recommended else "normal"


def all_series(rows: Sequence[BenchmarkRow], recommended: int | None) -> dict[int, Series]:
    """Each row's series by its id. `recommended`: the id of the recommended row.

    The colour shows the role of a system; its marker and dashes tell it from others of the same colour.
    """
    names = [plot_text(row.name) for row in rows]
    short_names = [name.removesuffix(SUFFIX) for name in names]
    counts: dict[str, int] = {}
    by_id = {}
    for row, name, short_name in zip(rows, names, short_names, strict=True):
        colour = _colour(row)
        number = counts[colour] = counts.get(colour, -1) + 1
        by_id[row.id] = Series(
            name=name,
            short_name=short_name if short_name and short_names.count(short_name) == 1 else name,
            colour=colour,
            marker=MARKERS[number % len(MARKERS)],
            dashes=DASHES[number % len(DASHES)],
            is_recommended=row.id == recommended,
        )
    return by_id


def _colour(row: BenchmarkRow) -> str:
    match row.role:
        case "teacher":
            return ORANGE
        case "student":
            return BLUE
        case "baseline":
            return GREEN
        case "peer":
            return PURPLE
        case "model":  # a benchmark without roles: most often a model and the bundles made from it
            return ORANGE if row.engine == "torch" else BLUE
    assert_never(row.role)
