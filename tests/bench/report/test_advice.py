"""Advice: each rule fires on its figure and only then, and each change of the recipe can be copied."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from bench.advice import larger_student, training_trends
from bench.advice.rules import MOST_ADVICE, advice_on
from bench.results.benchmark import ClassCount, SizeByPart
from bench.results.document import Choice, Reproduce, Results, SplitSizes
from bench.results.measurements import Ratio
from compress.models.shape import PRESETS, StudentShape
from compress.results import LossEntry, SplitScores, TrainingResult
from example_results import BASELINE, BENCH, BUNDLE, EXPORT, PARITY, RESULTS, ROWS, STUDENT, TEACHER, training
from export.results import MetricDifference, RowLengths
from pocketbert.recipe.loading import load_recipe

RECIPE = """\
name: reviews
task: {data: reviews.csv}
teacher: {base: some/small-bert, fine_tune: {epochs: 3, learning_rate: 0.0003, batch_size: 32}}
student: {layers: 4, width: 312, ffn_width: 1200, heads: 12}
distill:
  intermediate: {epochs: 4, learning_rate: 0.001, relations: 0.0}
  prediction: {epochs: 3, learning_rate: 0.0001}
gate: {student_share: 0.9}
"""
BERT = StudentShape(layers=12, width=768, ffn_width=3072, heads=12)


def flat(*dev_scores: float, losses: Sequence[float] = (1.0,) * 40, best: int | None = None) -> TrainingResult:
    """A training with these losses, whose dev scores do not rise at the end unless they are given so."""
    entries = [
        LossEntry(step=20 * (each + 1), epoch=3.0 * (each + 1) / len(losses), loss=loss, learning_rate=3e-4)
        for each, loss in enumerate(losses)
    ]
    return replace(training(*dev_scores), history=entries, num_steps=20 * len(losses), best_epoch=best)


def good() -> Results:
    """A run about which there is nothing to say."""
    scores = {TEACHER: 0.9, STUDENT: 0.895, BUNDLE: 0.893, BASELINE: 0.8}
    rows = [replace(row, score=scores.get(row.id, row.score), never_predicted=[]) for row in ROWS]
    variants = {"int8-dynamic": replace(EXPORT.variants["int8-dynamic"], failures=[])}
    stages = replace(
        RESULTS.stages,
        teacher=replace(RESULTS.stages.teacher, training=flat(0.88, 0.9, 0.9), scores=SplitScores(dev=0.9, test=0.9)),
        intermediate=replace(RESULTS.stages.intermediate, training=flat()),
        prediction=replace(
            RESULTS.stages.prediction,
            training=flat(0.88, 0.89, 0.89),
            scores=SplitScores(dev=0.9, test=0.895),
            vocabulary=None,
        ),
        general=None,
        augment=None,
        export=replace(EXPORT, variants=variants, labels=["negative", "positive"]),
        bench=replace(BENCH, rows=rows),
    )
    run = replace(RESULTS.run, gate=[], num_rows=SplitSizes(train=8000, dev=1000, test=1000), choices=[], teacher=BERT)
    reproduce = Reproduce(words="", command="", recipe=RECIPE)
    return replace(RESULTS, stages=stages, run=run, reproduce=reproduce)


def poor(results: Results | None = None) -> Results:
    """The same with a student that keeps 90 % of the teacher's score."""
    results = results or good()
    prediction = replace(results.stages.prediction, scores=SplitScores(dev=0.81, test=0.81))
    return replace(results, stages=replace(results.stages, prediction=prediction))


def with_stage(results: Results, **stages: object) -> Results:
    return replace(results, stages=replace(results.stages, **stages))


def with_row(results: Results, row_id: int, **changes: object) -> Results:
    rows = [replace(row, **changes) if row.id == row_id else row for row in results.stages.bench.rows]
    return with_stage(results, bench=replace(results.stages.bench, rows=rows))


def with_run(results: Results, **changes: object) -> Results:
    return replace(results, run=replace(results.run, **changes))


def with_training(results: Results, stage: str, result: TrainingResult) -> Results:
    return with_stage(results, **{stage: replace(getattr(results.stages, stage), training=result)})


def with_difference(results: Results, value: float, recommended: str | None = "int8-dynamic") -> Results:
    """The quantised variant scores by `value` more than torch."""
    difference = MetricDifference(value=value, low=value - 0.01, high=value + 0.01, p_value=None)
    parity = replace(PARITY, torch_score=0.9, score=0.9 + value, difference=difference)
    exported = results.stages.export
    variants = {"int8-dynamic": replace(exported.variants["int8-dynamic"], parity=parity)}
    return with_stage(results, export=replace(exported, variants=variants, recommended=recommended))


LENGTHS = RowLengths(num_rows=8000, max_length=128, share_longer=0.82, share_cut=0.6, p95=900.0, longest=4000)
FALLING = [2.0 - 0.04 * step for step in range(40)]
BELOW = MetricDifference(value=-0.4, low=-0.43, high=-0.37, p_value=None)
CHOSEN = [Choice(key="teacher.fine_tune.learning_rate", value="0.0003", reason="best on dev")]
SIZE = SizeByPart(embedding=90_000_000, encoder=9_000_000, tokenizer=900_000, other_files=100_000)
APART = SplitScores(dev=0.95, test=0.85)


def misses(results: Results, rows: int, teacher_too: bool = False, metric: str = "accuracy") -> Results:
    missed = [ClassCount(index=0, rows=rows)]
    results = with_row(replace(results, metric=metric), STUDENT, never_predicted=missed)
    return with_row(results, TEACHER, never_predicted=missed) if teacher_too else results


CASES = {
    "teacher below the baseline": (
        with_row(good(), TEACHER, score=0.4, minus_baseline=BELOW),
        "The teacher scores 0.400 on test, 0.400 less than TF-IDF + logistic regression. Let the run choose",
        ["teacher.fine_tune=auto"],
    ),
    "teacher not above the baseline, chosen already, of the size of BERT-base": (
        with_stage(
            with_run(with_row(good(), TEACHER, score=0.8), choices=CHOSEN),
            teacher=replace(good().stages.teacher, num_parameters=110_000_000),
        ),
        "0.800 on test, as much as TF-IDF + logistic regression, which may be chance. Train it longer.",
        ["teacher.fine_tune={epochs: 6, learning_rate: 0.0003, batch_size: 32}"],
    ),
    "a small teacher, chosen already": (
        with_run(with_row(good(), TEACHER, score=0.7), choices=CHOSEN), "Try a larger base.",
        ["teacher.base=bert-base-uncased"],
    ),
    "a teacher of the recipe": (
        replace(
            with_stage(with_row(good(), TEACHER, score=0.4), teacher=replace(good().stages.teacher, training=None)),
            reproduce=Reproduce(words="", command="", recipe="teacher: {model: ./my bert}"),
        ),
        "Fine-tune it on this table.",
        ["teacher.base=./my bert", "teacher.model=null", "teacher.fine_tune=auto"],
    ),
    "classes never predicted, nor by the teacher": (
        misses(good(), 400, teacher_too=True), "never predicts 1 of 2 classes on test (negative); nor does the teacher",
        ["teacher.fine_tune=auto"],
    ),
    "a rare class": (misses(good(), 20), "they are rare, and accuracy hardly counts them", ["task.metric=macro_f1"]),
    "a rare class that the metric counts": (
        misses(good(), 20, metric="macro_f1"), "the teacher does predict them", ["distill.prediction.epochs=6"],
    ),
    "teacher still rising": (
        with_training(good(), "teacher", flat(0.8, 0.85, 0.9, best=3)),
        "still rose by 0.050 in its last epoch",
        ["teacher.fine_tune={epochs: 6, learning_rate: 0.0003, batch_size: 32}"],
    ),
    "student still rising": (
        with_training(poor(), "prediction", flat(0.7, 0.75, 0.8, best=3)),
        "keeps 90.0% of the teacher's accuracy on test, and its dev score still rose by 0.050",
        ["distill.prediction.epochs=6"],
    ),
    "loss still falling": (
        with_training(poor(), "intermediate", flat(losses=FALLING)),
        "The loss of distill.intermediate still fell by 39%",
        ["distill.intermediate.epochs=6"],
    ),
    "heads": (
        with_run(poor(), teacher=replace(BERT, heads=16)), "12 attention heads and the teacher 16",
        ["distill.intermediate.relations=1.0"],
    ),
    "student too small": (
        poor(), "with 4 layers x 312 (the teacher: 12 layers x 768)", ["student.width=624", "student.ffn_width=2496"],
    ),
    "few rows": (
        with_run(poor(), num_rows=SplitSizes(train=30, dev=900, test=900)), "only 30 train rows, 15 per class",
        ["augment={copies_per_text: 10, masked_lm: {train_head: {corpus: task}}}"],
    ),
    "quantisation of the recommended variant": (
        with_difference(good(), -0.045), "Quantisation costs int8-dynamic 5.0%", ["gate.student_share=0.99"],
    ),
    "quantisation of every variant": (
        with_difference(good(), -0.045, recommended=None), "(int8-dynamic: 5.0%). Only the weights",
        ["export.variants=[int8-dynamic, int8-weight]"],
    ),
    "truncation": (
        with_stage(good(), export=replace(good().stages.export, lengths=LENGTHS)),
        "82% of the train rows are truncated at 128 tokens, which removes 60% of all tokens",
        ["task.max_length=512"],
    ),
    "splits": (
        with_stage(
            with_run(good(), remarks=["dev: 9 rows set aside"]), teacher=replace(good().stages.teacher, scores=APART)
        ),
        "scores 0.950 on dev and 0.850 on test", ["seed=1"],
    ),
    "embedding": (
        with_row(good(), BUNDLE, size_bytes=100_000_000, size_by_part=SIZE),
        "The embedding is 90% of student int8-dynamic, onnxruntime (90 of 100 MB)", ["student.vocabulary.size=10000"],
    ),
}  # fmt: skip


def test_a_good_result_needs_no_advice():
    assert advice_on(good()) == []
    assert advice_on(with_run(poor(), smoke=True)) == [] == advice_on(replace(poor(), run=None))


@pytest.mark.parametrize("case", CASES)
def test_each_rule_fires_on_its_figure_with_a_change(case):
    results, sentence, changes = CASES[case]
    (advice,) = [each for each in advice_on(results) if sentence in each.sentence]
    assert list(advice.changes) == changes
    assert shlex.split(advice.options) == [part for change in changes for part in ("--set", change)]


@pytest.mark.parametrize("case", CASES)
def test_every_change_can_be_applied_to_the_recipe_of_the_run(case, tmp_path):
    recipe = tmp_path / "reviews.yaml"
    for fine_tune in ("auto", {"epochs": 3, "learning_rate": 3e-5}):
        content = YAML(typ="safe", pure=True).load(RECIPE)
        content["teacher"]["fine_tune"] = fine_tune
        YAML(typ="safe", pure=True).dump(content, recipe)
        advice = advice_on(CASES[case][0])
        assert advice
        for each in advice:
            changed, unchanged = load_recipe(str(recipe), changes=each.changes), load_recipe(str(recipe))
            assert changed != unchanged or fine_tune == "auto", each.changes


def test_the_advice_is_short_ordered_and_names_each_key_once():
    results = with_row(poor(), TEACHER, score=0.4, minus_baseline=BELOW)
    results = with_training(results, "teacher", flat(0.3, 0.35, 0.4, best=3))
    results = with_training(results, "prediction", flat(0.7, 0.75, 0.8, best=3))
    results = with_training(results, "intermediate", flat(losses=FALLING))
    results = misses(with_difference(results, -0.045), 400, teacher_too=True)
    results = with_run(results, num_rows=SplitSizes(train=30, dev=900, test=900))
    advice = advice_on(results)
    assert len(advice) == MOST_ADVICE
    assert "The teacher scores" in advice[0].sentence
    keys = [change.partition("=")[0] for each in advice for change in each.changes]
    assert keys == sorted(set(keys), key=keys.index)


def test_a_difference_that_may_be_chance_is_no_reason():
    unsure = with_row(poor(), STUDENT, retention=Ratio(value=0.9, low=0.75, high=1.1))
    assert advice_on(unsure) == []
    assert advice_on(with_row(poor(), STUDENT, retention=Ratio(value=0.9, low=0.85, high=0.95)))
    assert advice_on(misses(good(), 2)) == [], "two rows of a class may be missed by chance"
    negative = with_stage(poor(), teacher=replace(good().stages.teacher, scores=SplitScores(dev=-0.1, test=-0.1)))
    assert not [each for each in advice_on(negative) if "keeps" in each.sentence]


def test_a_stage_ended_too_early_only_if_its_loss_falls_by_more_than_noise():
    assert training_trends.loss_drop(flat(losses=FALLING)) == pytest.approx(0.4 / 1.02)
    assert training_trends.loss_drop(flat(losses=FALLING[:8])) is None
    noisy = [1.0 + (0.5 if step % 2 else -0.5) - 0.002 * step for step in range(40)]
    assert training_trends.loss_drop(flat(losses=noisy)) is None
    assert training_trends.loss_drop(flat(losses=[float("nan")] * 40)) is None
    assert training_trends.loss_drop(flat(losses=[1 / (step + 1) ** 0.01 for step in range(40)])) is None
    assert (
        training_trends.last_gain(flat(0.8, 0.81), 1000) is None and training_trends.last_gain(flat(0.9), 1000) is None
    )
    assert training_trends.last_gain(flat(0.8, 0.82), 1000) == pytest.approx(0.02)
    assert training_trends.last_gain(flat(0.8, 0.82, best=0), 1000) is None
    assert training_trends.last_gain(flat(0.82, 0.8), 0) is None


def test_steps_are_doubled_where_they_were_the_limit():
    limited = replace(
        poor(), reproduce=Reproduce(words="", command="", recipe="distill: {prediction: {max_steps: 800}}")
    )
    limited = with_training(limited, "prediction", flat(0.7, 0.75, 0.8, best=3))
    assert advice_on(limited)[0].changes == ("distill.prediction.max_steps=1600",)


def test_a_larger_student_fits_the_teacher():
    small, minilm = PRESETS["tinybert4"], replace(BERT, width=384, ffn_width=1536)
    assert larger_student.changes(small, minilm, "tinybert4") == ("student.preset=tinybert4-384",)
    assert larger_student.changes(PRESETS["tinybert4-384"], minilm, None) == ("student.layers=6",)
    assert larger_student.changes(PRESETS["tinybert4-384"], minilm, "tinybert4-384") == (
        "student.preset=null", "student.layers=6", "student.width=384", "student.ffn_width=1536", "student.heads=12",
    )  # fmt: skip
    assert larger_student.changes(minilm, minilm, None) == ()
    assert larger_student.changes(small, None, None) == ("student.layers=6",)
