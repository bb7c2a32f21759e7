"""Two runs' loss curves side by side."""

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from bench.plots.loss_curves import CurveComparison, curve_of, side_by_side, steps_to_reach
from compress.common.errors import UserError
from compress.results import GeneralResult, LossEntry, TrainingResult
from pocketbert.standalone.compare_curves import compare_curves
from pocketbert.store.manifest import StageRecord, write_manifest


def history(*losses: float) -> list[LossEntry]:
    parts = [{"hidden": loss / 2, "attention": loss / 2} for loss in losses]
    entries = [
        LossEntry(step=20 * number, epoch=1.0, loss=9.0, learning_rate=1e-3, parts=each)
        for number, each in enumerate(parts, 1)
    ]
    return [*entries, LossEntry(step=20 * len(losses), epoch=1.0, loss=1.0, learning_rate=0.0)]


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
    training = TrainingResult(history=losses, num_steps=20 * len(losses), seconds=1.0)
    result = to_jsonable_python(GeneralResult(training=training, num_rows=1))
    place.mkdir()
    record = StageRecord(fingerprint="x", files={}, result=result, seconds=1.0, versions={})
    write_manifest(place, {"general": record}, {})
    return place


def test_two_run_folders_are_compared_and_drawn(tmp_path):
    first, second = (
        run_folder(tmp_path / "projected", history(3.0, 1.0)),
        run_folder(tmp_path / "random", history(9.0, 3.0)),
    )
    comparison = compare_curves(first, second, stage="general", output=tmp_path / "out")
    assert comparison.lines[0].steps_of_second == 40
    drawn = (tmp_path / "out" / "curves.svg").read_text()
    assert drawn.startswith("<?xml") and ">projected<" in drawn and ">random<" in drawn
    written = (tmp_path / "out" / "curves.json").read_text()
    assert TypeAdapter(CurveComparison).validate_json(written) == comparison
    with pytest.raises(UserError, match="no finished stage 'teacher'"):
        compare_curves(first, second, stage="teacher", output=None)
