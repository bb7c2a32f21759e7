"""The lines after each stage, and the summary at the end of a run."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.results.measurements import Ratio
from compress.models.shape import StudentShape
from example_results import BUNDLE, EXPORT, RESULTS, with_row, with_run, with_stages
from pocketbert.cli_parts import run_text
from pocketbert.pipeline.document import teacher_shape
from pocketbert.pipeline.flow import RunResult
from pocketbert.pipeline.progress_lines import stage_line
from pocketbert.pipeline.run_summary import summary_lines
from pocketbert.recipe.task import TaskSection
from pocketbert.stages.export import data_name
from pocketbert.store.manifest import StageRecord

FOLDER = Path("runs/my reviews")


def record(result: object) -> StageRecord:
    return StageRecord(fingerprint="f", files={}, result=result, seconds=1.0, versions={})


def scored(dev: float | None) -> StageRecord:
    return record({"scores": None if dev is None else {"dev": dev, "test": 0.5}})


RECORDS = {
    "baseline": scored(0.883),
    "teacher": scored(0.921),
    "general": record({"num_rows": 9}),
    "masked_lm": record({"accuracy": {"top1": 0.326}}),
    "intermediate": scored(0.7),
    "prediction": scored(0.915),
    "export": record({"variants": {"fp32": {"parity": {"score": 0.915}}, "int4-static": {"parity": {"score": 0.9}}}}),
    "bench": record({}),
}
LINES = {
    "baseline": "baseline: dev accuracy 0.883",
    "teacher": "teacher: dev accuracy 0.921; baseline 0.883",
    "general": None,
    "masked_lm": "masked language model: top-1 accuracy 0.326 on held-out text",
    "intermediate": "student after intermediate (with the teacher's head): dev accuracy 0.700; teacher 0.921; baseline "
    "0.883",
    "prediction": "student after prediction: dev accuracy 0.915; teacher 0.921; baseline 0.883",
    "export": "bundles: dev accuracy fp32 0.915, int4-static 0.900; student 0.915; teacher 0.921; baseline 0.883",
    "bench": None,
}


@pytest.mark.parametrize("stage", LINES)
def test_each_stage_has_its_score_next_to_those_of_teacher_and_baseline(stage):
    assert stage_line(stage, RECORDS, "accuracy") == LINES[stage]


def test_a_line_has_the_scores_that_there_are():
    assert stage_line("teacher", {"teacher": scored(0.9)}, "f1 of spam") == "teacher: dev f1 of spam 0.900"
    assert stage_line("teacher", {}, "accuracy") is None
    assert stage_line("intermediate", {"intermediate": scored(None)}, "accuracy") is None
    assert stage_line("prediction", {"prediction": scored(float("nan"))}, "matthews") is None
    assert stage_line("export", {"export": record(None)}, "accuracy") is None
    assert stage_line("prediction", {"prediction": scored(-0.02)}, "matthews").endswith("dev matthews -0.020")


def text_of(results: object, width: int | None = None) -> str:
    return "\n".join(summary_lines(results, FOLDER, width=width))


def test_the_summary_has_retention_verdicts_caveats_and_advice():
    text = text_of(with_row(BUNDLE, retention=Ratio(value=0.977, low=0.95, high=1.004)))
    for part in (
        "  Recommended: int8-dynamic, 8.0 MB, 20.0 times as fast as the teacher (95 % interval 18.0 to "
        "22.0; median of 200 calls).",
        "It scores 0.850 in accuracy on the 100 test rows (teacher 0.870, baseline 0.700). That is 97.7% of the "
        "teacher's score (95 % interval 95.0% to 100.4%).",
        "  python 'runs/my reviews/bundles/int8-dynamic/predict.py' \"a text\"\n",
        "  - int8-dynamic: passed, recommended\n  - fp16: failed: too slow\n",
        "  - The scores are on 100 rows, so each is uncertain",
        "  - The student keeps 94.4% of the teacher's accuracy on test with 4 layers x 312. Try a larger one.\n"
        "    --set student.layers=6",
    ):
        assert part in text, part
    assert '"a text" --pair "another text"' in text_of(with_run(takes_pairs=True))


def test_the_summary_says_that_no_bundle_is_recommended():
    text = text_of(with_stages(export=replace(EXPORT, recommended=None)))
    assert "No bundle is recommended." in text and 'predict.py" ' not in text and "Try it" not in text
    assert summary_lines(replace(RESULTS, run=None), FOLDER) == []


def test_a_smoke_run_recommends_nothing_and_says_how_to_try_a_bundle():
    text = text_of(with_run(smoke=True))
    assert "  Every stage works. A smoke run recommends no bundle.\n  Try it:\n  python " in text
    assert "ecommended:" not in text and "- int8-dynamic: passed\n" in text


def test_sentences_are_wrapped_and_commands_are_not():
    lines = text_of(RESULTS, width=80).splitlines()
    too_long = [line for line in lines if len(line) > 80]
    assert all("predict.py" in line or "--set" in line for line in too_long) and len(lines) > 20
    assert [line for line in lines if line.startswith("    ")], "the rest of a sentence is indented"


def test_labels_and_reasons_reach_the_terminal_as_plain_text(tmp_path, capsys):
    variants = {**EXPORT.variants}
    reason = "other tokens in '\x1b[31m:smile:[bold]\u202e\n'"
    variants["fp16"] = replace(variants["fp16"], failures=[reason])
    results = with_stages(export=replace(EXPORT, variants=variants))
    run_text.outcome(RunResult(folder=tmp_path, results=results, num_built=1, not_shipped=[]))
    out = capsys.readouterr().out
    assert r"fp16: failed: other tokens in '\x1b[31m:smile:[bold]\u202e\n'" in out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert out.rstrip().endswith("results.json") and "report.html" in out


@pytest.mark.parametrize(
    ("data", "subset", "expected"),
    [("table.csv", None, "table.csv"), (".", None, "reviews"), ("nyu-mll/glue", "sst2", "nyu-mll/glue sst2"),
     ("builtin:quickstart", None, "builtin:quickstart")],
)  # fmt: skip
def test_the_card_names_the_data_without_its_place(tmp_path, monkeypatch, data, subset, expected):
    folder = tmp_path / "reviews"
    folder.mkdir()
    (folder / "table.csv").touch()
    monkeypatch.chdir(folder)
    assert data_name(TaskSection(data=data, subset=subset)) == expected
    assert data_name(TaskSection(data=str(folder))) == "reviews"


def test_the_shape_of_the_teacher_comes_from_its_config(tmp_path):
    config = tmp_path / "config.json"
    assert teacher_shape(config) is None
    config.write_text(json.dumps({"model_type": "distilbert", "n_layers": 6, "dim": 768, "hidden_dim": 3072,
                                  "n_heads": 12, "vocab_size": 9, "max_position_embeddings": 512,
                                  "activation": "gelu"}))  # fmt: skip
    assert teacher_shape(config) == StudentShape(layers=6, width=768, ffn_width=3072, heads=12)
    config.write_text("{")
    assert teacher_shape(config) is None
