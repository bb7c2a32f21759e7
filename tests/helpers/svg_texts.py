"""The texts of a drawn plot and the boxes that they fill."""

import re
from itertools import combinations
from xml.etree import ElementTree

from bench.plots.labels import Box, text_width

SVG = "{http://www.w3.org/2000/svg}"
ASCENT, DESCENT = 0.76, 0.2  # of the font size


def text_boxes(svg: str) -> list[tuple[str, Box]]:
    """Each text with its box; y grows downwards, so that `top` is the larger one of a box's edges."""
    boxes = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        style = dict(part.strip().split(": ", 1) for part in element.get("style").split(";") if part.strip())
        assert re.match(r"rotate\(-?0 ", element.get("transform", "rotate(0 "))
        text, size = "".join(element.itertext()), float(style["font-size"].removesuffix("px"))
        width = text_width(text, size, bold=style.get("font-weight") in ("bold", "700"))
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[style.get("text-anchor", "start")]
        left, baseline = float(element.get("x")) - share * width, float(element.get("y"))
        box = Box(left=left, bottom=baseline - ASCENT * size, right=left + width, top=baseline + DESCENT * size)
        boxes.append((text, box))
    return boxes


def overlap(first: Box, second: Box) -> bool:
    """Whether two boxes share more than their edges."""
    return (
        first.left < second.right
        and second.left < first.right
        and first.bottom < second.top
        and second.bottom < first.top
    )


def overlapping_texts(svg: str) -> list[tuple[str, str]]:
    """The pairs of texts of a plot that overlap, and those that leave its frame."""
    boxes = text_boxes(svg)
    _, _, width, height = (float(value) for value in ElementTree.fromstring(svg).get("viewBox").split())
    outside = [
        (text, "outside")
        for text, box in boxes
        if min(box.left, box.bottom) < -1 or box.right > width + 1 or box.top > height + 1
    ]
    return outside + [
        (one, other) for (one, first), (other, second) in combinations(boxes, 2) if overlap(first, second)
    ]
