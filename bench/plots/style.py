"""The style of all plots: a wide and a narrow drawing of each, in colours for light and dark pages."""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib

matplotlib.use("svg")
import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import IdentityTransform

from bench.plots.labels import DESCENT, LINE_HEIGHT, text_width
from compress.common.escaping import html, plot_text

PALETTE = {  # colours on a light page and on a dark one: text in any of them has a contrast of 5:1 or more
    "blue": ("#0067a5", "#5cb3f0"),
    "orange": ("#b84a00", "#ff9e4a"),
    "green": ("#00705a", "#3ecfa4"),
    "purple": ("#96348a", "#e49ad6"),
    "olive": ("#736200", "#dccb4f"),
    "muted": ("#5c636b", "#9aa3ad"),
    "line": ("#d9dde2", "#343a41"),
}
BLUE, ORANGE, GREEN, PURPLE, OLIVE, MUTED, LINE = (light for light, _ in PALETTE.values())
SERIES = (BLUE, ORANGE, GREEN, PURPLE, OLIVE)
TEXT = "#000000"
STYLE: Any = {
    "figure.dpi": 72,  # display units are points
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib; labels are measured in it
    "text.parse_math": False,  # a name may hold dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketbert",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
LOG_STEPS = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))  # ticks of a decade
FEWEST_TICKS = 3


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The width and the font size of a drawing, in points. `is_narrow`: for a phone."""

    width: float
    font_size: float
    is_narrow: bool

    @property
    def line_height(self) -> float:
        """The distance from one line of text to the next."""
        return LINE_HEIGHT * self.font_size

    def figure(self, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
        """A figure of this width with its axes, an array of them if there are several."""
        size = (self.width / 72, height / 72)
        return pyplot.subplots(rows, columns, figsize=size, layout="constrained", **options)


WIDE = Canvas(width=1000, font_size=13, is_narrow=False)
NARROW = Canvas(width=440, font_size=12.5, is_narrow=True)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot as two SVG elements, and its caption. The page shows the element that suits its width."""

    wide: str
    narrow: str
    caption: str = ""


def plot(description: str, draw: Callable[[Canvas], Any], *, caption: str = "") -> Plot:
    """The plot that `draw` draws on each canvas. `description`: for screen readers."""
    wide, narrow = (_element(_svg_file(canvas, draw), description) for canvas in (WIDE, NARROW))
    return Plot(wide=wide, narrow=narrow, caption=caption)


def svg_file(draw: Callable[[Canvas], Any]) -> str:
    """The wide drawing on white, as an SVG file."""
    return _svg_file(WIDE, draw, facecolor="white")


def css_variables(*, dark: bool) -> str:
    """The palette as CSS declarations."""
    return " ".join(f"--plot-{name}: {colours[dark]};" for name, colours in PALETTE.items())


def log_scale(axes: Any, name: str, low: float, high: float, *, length: float, size: float) -> None:
    """Make the axis x or y logarithmic from `low` to `high`, with plain numbers that do not overlap.

    `length`: of the axis, in points; `size`: of the font.
    """
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    ticks = log_ticks(low, high, length, lambda label: LINE_HEIGHT * size if name == "y" else text_width(label, size))
    set_ticks(axes, name, ticks)


def set_ticks(axes: Any, name: str, ticks: Sequence[float]) -> None:
    """Set ticks at these values and nowhere else, with plain numbers."""
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(lambda value, _: plain_number(value))
    axis.set_minor_locator(NullLocator())


def set_ticks_at(axes: Any, name: str, values: Sequence[float], *, length: float, size: float) -> None:
    """Set ticks of a logarithmic axis at these values, or at every second or third if their labels would overlap."""
    low, high = getattr(axes, f"get_{name}lim")()
    per_unit = length / np.log(high / low)
    choices = (values[::every] for every in range(1, len(values) + 1))
    set_ticks(axes, name, next(each for each in choices if _apart(each, per_unit, lambda text: text_width(text, size))))


def log_ticks(low: float, high: float, length: float, extent: Callable[[str], float]) -> list[float]:
    """As many ticks at round numbers as fit without overlap. `extent`: of a label along the axis."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    choices = [[step * 10.0**decade for decade in decades for step in steps] for steps in LOG_STEPS]
    choices += [[10.0**decade for decade in decades[::every]] for every in range(2, len(decades))]
    choices += [list(MaxNLocator(most).tick_values(low, high)) for most in (6, 5, 4, 3, 2)]
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in choices]
    fitting = [ticks for ticks in inside if _apart(ticks, length / np.log(high / low), extent)]
    return next((ticks for ticks in fitting if len(ticks) >= FEWEST_TICKS), max(fitting, key=len, default=[]))


def _apart(ticks: Sequence[float], per_unit: float, extent: Callable[[str], float]) -> bool:
    """Whether the labels of all ticks are apart. `per_unit`: points for one unit of the natural logarithm."""
    extents = [extent(plain_number(tick)) for tick in ticks]
    steps = [per_unit * np.log(high / low) for low, high in pairwise(ticks)]
    return all(step > 0.6 * (one + other) for step, (one, other) in zip(steps, pairwise(extents), strict=True))


def plain_number(value: float) -> str:
    """A number without an exponent."""
    return str(np.format_float_positional(float(f"{value:.10g}"), trim="-"))


def write(figure: Any, text: str, left: float, middle: float, canvas: Canvas, **options: Any) -> None:
    """Write a text into a finished drawing. `left`, `middle`: in points from the lower left corner."""
    bottom = middle - canvas.line_height / 2
    figure.text(left, bottom + DESCENT * canvas.font_size, text, transform=IdentityTransform(), **options)


def draw_line(figure: Any, points: Sequence[tuple[float, float]], **options: Any) -> None:
    """Draw a thin line through these points of a finished drawing."""
    figure.add_artist(
        Line2D(
            *zip(*points, strict=True), transform=IdentityTransform(), **{"color": MUTED, "linewidth": 0.8, **options}
        )
    )


def finish_layout(figure: Any) -> None:
    """Fix the positions of all axes, so that labels can be placed by their coordinates."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def around(values: Sequence[float], *, share: float) -> tuple[float, float]:
    """Limits of a logarithmic axis around these values, with a margin of this share on both sides."""
    low, high = min(values), max(values)
    factor = max((high / low) ** share, 1.15)
    return low / factor, high * factor


def _svg_file(canvas: Canvas, draw: Callable[[Canvas], Any], **options: Any) -> str:
    """The figure as an SVG file; equal figures give equal files."""
    buffer = io.StringIO()
    with pyplot.rc_context({**STYLE, "font.size": canvas.font_size}), warnings.catch_warnings():
        for message in ("Glyph .* missing from", "Matplotlib currently does not support"):  # the browser does
            warnings.filterwarnings("ignore", message=message)
        figure = draw(canvas)
        for text in figure.findobj(Text):
            text.set_text(plot_text(text.get_text()))
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, **options)
        pyplot.close(figure)
    return buffer.getvalue()


def _element(file: str, description: str) -> str:
    """The file as an element of the page, with the width of its box and the colours of the page."""
    element = re.sub(r"<metadata>.*?</metadata>", "", file[file.index("<svg") :], flags=re.DOTALL)
    # the identifiers of one drawing must not match those of another
    prefix = f"p{hashlib.sha256(file.encode()).hexdigest()[:8]}-"
    element = re.sub("<[^>]*>", lambda tag: _tag(tag.group(), prefix), element)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", element, count=1)
    return element.replace("<svg ", f'<svg role="img" aria-label="{html(description)}" ', 1)


def _tag(tag: str, prefix: str) -> str:
    """A tag with the colours of the page and `prefix` before its identifiers."""
    # black is matplotlib's colour for text: leave it to the page
    tag = tag.replace(TEXT, "currentColor").replace("<text ", '<text fill="currentColor" ')
    for name, (light, _) in PALETTE.items():
        tag = tag.replace(light, f"var(--plot-{name}, {light})")
    return re.sub(r'( id="|href="#|url\(#)', lambda start: f"{start.group(1)}{prefix}", tag)
