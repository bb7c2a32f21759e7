"""Labels: measured, shortened and placed without overlap."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plots.labels import (
    GAP,
    LEADER_FROM,
    Box,
    PointLabel,
    leader_line,
    place,
    shorten,
    spread_out,
    text_width,
)
from compress.common.escaping import plot_text
from svg_texts import overlap

FRAME = Box(left=0, bottom=0, right=600, top=400)
NO_LINES = np.empty((0, 2))


def label(x: float, y: float, *, width: float = 120, radius: float = 5) -> PointLabel:
    return PointLabel(x=x, y=y, radius=radius, width=width, height=16)


def placed(labels: list[PointLabel], lines: np.ndarray = NO_LINES) -> list[Box]:
    boxes = place(labels, FRAME, lines)
    assert len(boxes) == len(labels)
    for one, box in zip(labels, boxes, strict=True):
        assert (box.right - box.left, box.top - box.bottom) == pytest.approx((one.width, one.height))
        assert min(box.left, box.bottom) >= 0 and box.right <= FRAME.right and box.top <= FRAME.top
    assert not any(overlap(first, second) for first, second in combinations(boxes, 2))
    return boxes


def test_a_label_on_its_own_is_next_to_its_mark():
    (box,) = placed([label(100, 200)])
    assert leader_line(label(100, 200), box) is None
    (box,) = placed([label(598, 398)])
    assert leader_line(label(598, 398), box) is None, "there is room on the left or below"


def test_labels_of_one_point_are_apart_and_have_leader_lines():
    labels = [label(300, 200) for _ in range(20)]
    boxes = placed(labels)
    leaders = [leader_line(one, box) for one, box in zip(labels, boxes, strict=True)]
    assert leaders.count(None) <= 6
    for box, leader in zip(boxes, leaders, strict=True):
        if leader is not None:
            start_x, start_y, end_x, end_y = leader
            assert np.hypot(start_x - 300, start_y - 200) == pytest.approx(5)
            assert box.left <= end_x <= box.right and box.bottom <= end_y <= box.top


def test_labels_leave_marks_and_lines_free():
    labels = [label(100, 200, radius=20), label(150, 200, radius=20)]
    level = np.stack([np.arange(0.0, 600.0, 5.0), np.full(120, 200.0)], axis=1)
    for box in placed(labels, level):
        assert not box.bottom < 200 < box.top, "off the line"
        for mark in labels:
            assert not overlap(box, Box(left=mark.x - 20, bottom=180, right=mark.x + 20, top=220))


def test_equal_input_gives_equal_positions():
    labels = [label(100 + 3 * number, 200 - number) for number in range(12)]
    assert place(labels, FRAME, NO_LINES) == place(labels, FRAME, NO_LINES)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(20, 280)), min_size=1, max_size=10))
def test_labels_never_overlap(points):
    placed([label(x, y, width=width) for x, y, width in points])


def test_a_label_wider_than_the_frame_begins_at_its_left_edge():
    (box,) = place([label(300, 200, width=700)], FRAME, NO_LINES)
    assert box.left == 0


@settings(deadline=None)
@given(st.lists(st.floats(-50, 450), min_size=1, max_size=20))
def test_labels_of_a_column_keep_their_order_and_distance(wanted):
    centres = spread_out(wanted, 20, 0, 400)
    assert min(centres) >= 10 - 1e-6 and max(centres) <= 390 + 1e-6
    ordered = [centre for _, centre in sorted(zip(wanted, centres, strict=True))]
    assert all(second - first >= 20 - 1e-6 for first, second in pairwise(ordered))


def test_labels_of_a_column_stay_where_they_are_wanted_or_share_the_shift():
    assert spread_out([100, 300], 20, 0, 400) == [100, 300]
    assert spread_out([100, 100, 300], 20, 0, 400) == [90, 110, 300]
    assert spread_out([2], 20, 0, 400) == [10]
    with pytest.raises(ValueError, match="expected room for 3 labels"):
        spread_out([1, 2, 3], 20, 0, 50)


def test_the_width_of_a_text_grows_with_its_size_and_weight():
    assert text_width("model", 20) == pytest.approx(2 * text_width("model", 10))
    assert text_width("model", 10, bold=True) > text_width("model", 10) > text_width("mode", 10)
    assert text_width("模型🚀", 10) == pytest.approx(42), "as wide as the widest character of another font"


def test_a_long_name_keeps_its_ends():
    name = "a model with a long name, onnxruntime"
    assert shorten(name, 1000, 10) == name
    short = shorten(name, 120, 10)
    assert text_width(short, 10) <= 120
    start, end = short.split("…")
    assert start and end and name.startswith(start) and name.endswith(end)
    assert shorten(name, 1, 10) == "…"


def test_a_plain_name_has_no_characters_that_xml_forbids():
    assert plot_text(" a\tb\n\x00c\x1b \ud800\uffff d ") == "a b c d"
    assert plot_text("<b> & é 模 🚀") == "<b> & é 模 🚀"


def test_a_near_label_needs_no_leader_line():
    near = Box(left=105 + GAP, bottom=192, right=225, top=208)
    assert leader_line(label(100, 200), near) is None
    far = Box(left=106 + LEADER_FROM, bottom=192, right=232, top=208)
    assert leader_line(label(100, 200), far) is not None
