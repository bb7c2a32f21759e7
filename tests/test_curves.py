"""Two runs' loss curves side by side."""

import json

import pytest

from bench.curves import curve_of, side_by_side, steps_to_reach
from compress.errors import UserError
from pocketbert.curves import compare


def history(*losses: float) -> list[dict[str, float]]:
    parts = [
        {"step": 20 * n, "loss": 9.0, "loss_hidden": x / 2, "loss_attention": x / 2} for n, x in enumerate(losses, 1)
    ]
    return [*parts, {"step": 20 * len(losses), "train_loss": 1.0}]


def test_a_curve_sums_the_parts_of_each_logged_step():
    curve = curve_of("a", history(4.0, 2.0))
    assert (curve.steps, curve.losses) == ((20, 40), (4.0, 2.0))
    assert curve.parts == {"hidden": (2.0, 1.0), "attention": (2.0, 1.0)}


def test_a_step_is_worth_as_many_as_the_other_run_needs_to_be_as_low():
    ahead, behind = curve_of("a", history(3.0, 2.0, 1.0)), curve_of("b", history(9.0, 5.0, 2.5, 2.6, 2.0))
    assert [steps_to_reach(behind, loss) for loss in (9.5, 3.0, 2.0, 1.0)] == [20, 60, 100, None]
    lines = side_by_side(ahead, behind)
    assert [(line.step, line.second, line.steps_of_second) for line in lines] == [
        (20, 9.0, 60),
        (40, 5.0, 100),
        (60, 2.5, None),
    ]


def run_folder(place, losses):
    record = {"fingerprint": "x", "files": {}, "metrics": {"history": losses}, "seconds": 1.0, "versions": {}}
    place.mkdir()
    (place / "manifest.json").write_text(json.dumps({"format_version": 1, "stages": {"general": record}}))
    return place


def test_two_run_folders_are_compared_and_drawn(tmp_path):
    first, second = (
        run_folder(tmp_path / "projected", history(3.0, 1.0)),
        run_folder(tmp_path / "random", history(9.0, 3.0)),
    )
    found = compare(first, second, stage="general", output=tmp_path / "out")
    assert found["lines"][0]["steps_of_second"] == 40
    drawn = (tmp_path / "out" / "curves.svg").read_text()
    assert drawn.startswith("<?xml") and ">projected<" in drawn and ">random<" in drawn
    assert json.loads((tmp_path / "out" / "curves.json").read_text()) == json.loads(json.dumps(found))
    with pytest.raises(UserError, match="no finished stage 'teacher'"):
        compare(first, second, stage="teacher", output=None)
