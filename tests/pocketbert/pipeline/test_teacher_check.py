"""The comparison of the teacher with the baseline: when a run stops, when it only warns, and what it prints."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.results.phrases import phrases_for
from compress.common.errors import NotGoodEnough
from compress.data.task_types import task_type
from compress.results import BaselineResult, SplitScores, TeacherResult
from pocketbert.cli import app
from pocketbert.pipeline import teacher_check
from pocketbert.pipeline.teacher_check import check_teacher
from tiny_recipes import write_recipe

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(4, size=500)
CONTINUES = "--set gate.teacher_over_baseline=false continues"


def wrong_in(share: float, seed: int) -> np.ndarray:
    """Predictions that are wrong in this share of the rows."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(len(LABELS)) < share, (LABELS + 1) % 4, LABELS)


def check(folder, teacher, baseline, *, labels=LABELS, name="classification", metric="accuracy", **recipe):
    type_ = task_type(name)
    for stage, predictions in (("teacher", teacher), ("baseline", baseline)):
        (folder / stage).mkdir(exist_ok=True)
        np.save(folder / stage / "dev_predictions.npy", predictions)
    names = ("a", "b", "c", "d") if type_.has_classes else ("score",)
    context = SimpleNamespace(
        folder=folder,
        task=SimpleNamespace(type=name, labels=names, dev=SimpleNamespace(labels=labels)),
        task_type=type_,
        positive=None,
        metric_name=metric,
        recipe=SimpleNamespace(
            seed=0,
            smoke=recipe.get("smoke", False),
            task=SimpleNamespace(metric=metric),
            gate=SimpleNamespace(teacher_over_baseline=recipe.get("teacher_over_baseline", True)),
            teacher=SimpleNamespace(model=recipe.get("model")),
        ),
    )
    constant = np.full(len(labels), np.bincount(labels).argmax() if type_.has_classes else labels.mean())
    scores = [type_.score(metric, labels, each, len(names)) for each in (teacher, baseline, constant)]
    on_teacher, on_baseline, most_common = (SplitScores(dev=score, test=score) for score in scores)
    return check_teacher(
        context,
        BaselineResult(
            model=phrases_for(name).baseline,
            scores=on_baseline,
            most_common=most_common,
            most_common_accuracy=None,
            num_rows=1,
            strength=1.0,
        ),
        TeacherResult(training=None, scores=on_teacher, num_parameters=1),
    )


def test_a_teacher_above_the_baseline_passes(tmp_path):
    assert check(tmp_path, wrong_in(0.1, 1), wrong_in(0.3, 2)) is None


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "matthews"])
def test_a_teacher_below_the_baseline_stops_the_run(tmp_path, metric):
    with pytest.raises(NotGoodEnough) as error:
        check(tmp_path, wrong_in(0.5, 1), wrong_in(0.1, 2), metric=metric)
    message = str(error.value)
    assert message.startswith(f"the teacher is below TF-IDF + logistic regression: {metric} 0.")
    assert "95 % interval -0." in message and "fine_tune.epochs=10" in message and message.endswith(CONTINUES)
    assert "\n" not in message


def test_a_teacher_that_is_merely_not_above_it_is_a_caution(tmp_path):
    caution = check(tmp_path, wrong_in(0.1, 1), wrong_in(0.1, 2))
    assert caution.startswith("the teacher is not above TF-IDF") and caution.endswith("may be enough for this task")


def test_a_teacher_that_always_predicts_one_class_stops_the_run(tmp_path):
    constant = np.full(len(LABELS), np.bincount(LABELS).argmax())
    with pytest.raises(NotGoodEnough, match=r"is not above 0\.2.*always predicting the most common label"):
        check(tmp_path, constant, constant)


def test_a_teacher_that_is_better_by_chance_stops_the_run(tmp_path):
    most_common = np.bincount(LABELS).argmax()
    teacher = np.full(len(LABELS), most_common)
    others = np.flatnonzero(most_common != LABELS)
    teacher[others[:2]] = LABELS[others[:2]]
    teacher[others[2:5]] = (LABELS[others[2:5]] + 1) % 4
    with pytest.raises(NotGoodEnough, match=r"may be chance \(p = 0"):
        check(tmp_path, teacher, np.full(len(LABELS), most_common))


def test_a_rare_class_that_is_predicted_is_no_chance(tmp_path):
    """Accuracy is hardly above that of the most common label, but the predictions carry information."""
    labels = (np.arange(200) < 10).astype(int)
    teacher = labels.copy()
    teacher[:4] = 0
    teacher[50:52] = 1
    assert check(tmp_path, teacher, np.zeros(200, dtype=int), labels=labels, metric="macro_f1") is None


def test_values_are_judged_by_their_correlation(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_check, "RESAMPLES", 200)
    generator = np.random.default_rng(0)
    labels = generator.normal(size=300)
    good, bad, noise = (labels + spread * generator.normal(size=300) for spread in (0.3, 3.0, 1e9))
    arguments = {"labels": labels, "name": "regression", "metric": "pearson_spearman"}
    assert check(tmp_path, good, bad, **arguments) is None
    with pytest.raises(NotGoodEnough, match=r"the teacher is below TF-IDF \+ ridge regression"):
        check(tmp_path, bad, good, **arguments)
    with pytest.raises(NotGoodEnough, match=r"not above 0\.000, that of a constant|may be chance"):
        check(tmp_path, noise, generator.normal(size=300), **arguments)


def test_the_recipe_can_allow_it_and_a_smoke_run_has_no_limits(tmp_path):
    poor = wrong_in(0.5, 1), wrong_in(0.1, 2)
    assert check(tmp_path, *poor, teacher_over_baseline=False).startswith("the teacher is below TF-IDF")
    assert check(tmp_path, *poor, smoke=True) is None
    with pytest.raises(NotGoodEnough, match=r"use another teacher\.model"):
        check(tmp_path, *poor, model="models/mine")


def test_a_stopped_run_continues_without_another_training(tmp_path, base_folder, reviews, capsys, monkeypatch):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    gate = {"teacher_over_baseline": True}
    path = write_recipe(tmp_path, reviews, teacher={"base": str(base_folder)}, gate=gate)
    arguments = ["run", path, "--output", str(tmp_path / "run"), "--until", "intermediate"]
    assert app.main(arguments) == 3
    printed = capsys.readouterr().err
    assert "baseline: TF-IDF + logistic regression: dev accuracy 1.000 (most common label 0." in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: the teacher is below TF-IDF + logistic regression: accuracy 0.")
    assert not (tmp_path / "run" / "intermediate").exists()
    scores, *predictions = (
        np.load(tmp_path / "run" / path)
        for path in ("baseline/dev_scores.npy", "baseline/dev_predictions.npy", "teacher/dev_predictions.npy")
    )
    assert scores.shape == (80, 2) and scores.dtype == np.float32 and (scores.argmax(axis=1) == predictions[0]).all()
    assert [each.shape for each in predictions] == [(80,), (80,)] and (predictions[0] != predictions[1]).any()
    assert app.main([*arguments, "--set", "gate.teacher_over_baseline=false"]) == 0
    printed = capsys.readouterr().err
    assert "baseline: already done" in printed and "teacher: already done" in printed
    assert "caution: the teacher is below" in printed and "intermediate: took" in printed
