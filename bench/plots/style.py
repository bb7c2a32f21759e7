"""How the report's plots look: SVG text whose colours come from the page, so that they suit light and dark."""

import io
import re
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

SERIES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999", "#bb7711")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketbert",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def below(columns: int) -> dict[str, Any]:
    """A legend under the axes, where it hides no points."""
    return {
        "frameon": False,
        "fontsize": 8,
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -0.18),
        "ncols": columns,
    }


def logarithmic(axes: Any, *names: str) -> None:
    """Make the axes x or y logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(two_and_five)


def two_and_five(value: float, _: float) -> str:
    """Labels for the minor ticks of a logarithmic axis: 2 and 5 of each decade."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def drawn(figure: Any, **options: Any) -> str:
    """The figure as an SVG file, the same in every run."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}, **options)
    pyplot.close(figure)
    return buffer.getvalue()


def svg(figure: Any, description: str) -> str:
    """The figure as a part of the page, in its colours."""
    text = drawn(figure)
    found = text[text.index("<svg") :]
    # black is matplotlib's colour for text and axes: leave it to the page
    found = found.replace("#000000", "currentColor").replace("<text ", '<text fill="currentColor" ')
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    # one page holds several drawings: the identifiers of one must not catch those of another
    prefix = re.sub(r"\W+", "-", description.lower())
    found = re.sub(r'(id="|href="#|url\(#)', lambda start: f"{start.group(1)}{prefix}-", found)
    return found.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)
