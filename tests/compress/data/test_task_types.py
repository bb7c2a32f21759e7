"""Tests of the task types against a few lines of numpy, and that no other code checks the number of labels."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from bench.results.phrases import phrases_for
from compress.common.errors import UserError
from compress.data import metrics
from compress.data.task_types import Classification, Regression, TaskTypeName, task_type, type_for_metric, type_of_model
from compress.data.tasks import load_task
from compress.distillation.objective import Objective
from compress.models import loading, sources
from compress.results import LabelDrift
from export.bundle.bundle_json import BundleInfo, read_bundle_info
from export.bundle.folder import seal, write_bundle
from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier
from export.graph.to_onnx import export_onnx
from export.parity.predictors import TorchPredictor
from export.results import BatchInvariance
from pocketbert.recipe.loading import load_recipe
from tiny_bert import LABELS, config, rows, write_csv

ROOT = Path(__file__).parents[3]
CLASSES, VALUES = Classification(), Regression()
NAMES: tuple[TaskTypeName, ...] = get_args(TaskTypeName)
LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 1.0], [1.0, 0.5, 0.0]])
REFERENCE = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 4.0], [0.0, 0.1, 0.0]])


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


# -- compared with numpy


def test_each_name_gives_its_type():
    assert [task_type(name).name for name in NAMES] == list(NAMES) == ["classification", "regression"]
    for name in NAMES:
        assert task_type(name).default_metric in task_type(name).metrics


def test_classification_losses_are_cross_entropies():
    student, teacher, labels = torch.tensor(LOGITS), torch.tensor(REFERENCE), torch.tensor([0, 2, 1])
    expected = -np.log(softmax(LOGITS))[np.arange(3), labels]
    np.testing.assert_allclose(CLASSES.label_loss(student, labels), expected, rtol=1e-6)
    for temperature in (1.0, 2.5):
        soft = -(softmax(REFERENCE / temperature) * np.log(softmax(LOGITS / temperature))).sum(axis=1)
        np.testing.assert_allclose(CLASSES.distillation_loss(student, teacher, temperature), soft, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_regression_losses_are_squared_errors(count):
    student, teacher, labels = LOGITS[:count, :1], REFERENCE[:count, :1], np.array([1.5, -1.0, 0.0])[:count]
    label_losses = VALUES.label_loss(torch.tensor(student), torch.tensor(labels))
    np.testing.assert_allclose(label_losses, (student[:, 0] - labels) ** 2, rtol=1e-6)
    distillation_losses = VALUES.distillation_loss(torch.tensor(student), torch.tensor(teacher), 3.0)
    np.testing.assert_allclose(distillation_losses, (student[:, 0] - teacher[:, 0]) ** 2, rtol=1e-6)
    assert label_losses.shape == distillation_losses.shape == (count,)


def test_an_objective_on_logits_needs_a_task_type():
    assert Objective(labels=1.0, task_type="regression").task_type == "regression"
    assert Objective(hidden=1.0).task_type is None
    for losses in ({"labels": 1.0}, {"prediction": 1.0}):
        with pytest.raises(AssertionError, match="depend on the task type"):
            Objective(**losses)


def test_classification_predicts_the_largest_logit_and_answers_with_probabilities():
    np.testing.assert_array_equal(CLASSES.decide(LOGITS), [0, 1, 0])
    np.testing.assert_allclose(CLASSES.answers(LOGITS), softmax(LOGITS))
    np.testing.assert_allclose(CLASSES.answers(LOGITS + 1000), softmax(LOGITS))
    assert CLASSES.unit(softmax(LOGITS)) == 1.0


def test_regression_predicts_and_answers_with_the_logit():
    np.testing.assert_array_equal(VALUES.decide(np.array([[1.5], [-2.0]])), [1.5, -2.0])
    np.testing.assert_array_equal(VALUES.answers(np.array([[1.5], [-2.0]])), [[1.5], [-2.0]])
    assert VALUES.unit(np.array([[1.0], [3.0]])) == 1.0 and VALUES.unit(np.array([[2.0], [4.0], [9.0]])) > 2
    assert VALUES.unit(np.array([[2.0], [2.0]])) == 1.0


def test_scores_equal_the_metrics():
    labels, predictions = np.array([0, 1, 1, 0, 2]), np.array([0, 1, 0, 0, 1])
    assert CLASSES.score("accuracy", labels, predictions, 3) == np.mean(labels == predictions)
    for metric in CLASSES.metrics:
        assert CLASSES.score(metric, labels, predictions, 3) == metrics.score(
            metric, labels, predictions, num_classes=3
        )
    numbers, others = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 2.0, 4.0, 30.0])
    expected = (np.corrcoef(numbers, others)[0, 1] + 1) / 2
    assert VALUES.score("pearson_spearman", numbers, others, 1) == pytest.approx(expected)


def test_labels_change_with_the_largest_logit_and_values_have_no_labels():
    np.testing.assert_array_equal(CLASSES.changed(LOGITS, REFERENCE), [False, True, True])
    np.testing.assert_array_equal(CLASSES.changed_above(LOGITS, REFERENCE, 0.7), [False, True, False])
    np.testing.assert_array_equal(CLASSES.noticeably_changed(softmax(LOGITS), softmax(REFERENCE)), [False, True, True])
    values, moved = np.array([[0.0], [5.0], [10.0]]), np.array([[0.9], [6.1], [10.0]])
    assert not VALUES.changed(moved, values).any() and not VALUES.changed_above(moved, values, 0.0).any()
    np.testing.assert_array_equal(VALUES.noticeably_changed(moved, values), [False, True, False])


def test_drift_counts_labels_or_measures_values():
    assert CLASSES.drift(LOGITS, REFERENCE) == LabelDrift(num_variants=3, changed_share=pytest.approx(2 / 3))
    drift = VALUES.drift(np.array([[1.0], [3.0]]), np.array([[2.0], [2.5]]))
    assert drift == LabelDrift(num_variants=2, mean_change=0.75, spread=0.25)


def test_classes_are_the_groups_of_a_stratified_sample_and_values_have_one_group():
    np.testing.assert_array_equal(CLASSES.groups(np.array([2, 0, 2])), [2, 0, 2])
    assert len(set(VALUES.groups(np.array([0.5, 1.5, 2.5])).tolist())) == 1
    assert CLASSES.most_common_share(np.array([0, 1, 1, 1])) == 0.75
    assert VALUES.most_common_share(np.array([0.5, 0.5])) is None


def test_only_classification_can_have_a_better_order():
    labels = np.array([0, 1, 2] * 20)
    assert CLASSES.better_order(labels, (labels + 1) % 3, 3) == [2, 0, 1]
    assert CLASSES.better_order(labels, labels, 3) is None
    assert VALUES.better_order(labels.astype(float), -labels.astype(float), 1) is None


# -- reading labels


def columns(**splits: list) -> dict[str, pd.Series]:
    return {split: pd.Series(cells, name="label") for split, cells in splits.items()}


def test_classes_are_read_by_name_or_by_index():
    names = CLASSES.label_names(pd.Series(["10", "2", "10"], name="label"), known=None, where="t")
    assert names == ("2", "10")
    labels = CLASSES.read_labels(columns(train=[10, 2], dev=[2]), names, by_position=False, where="t")
    assert labels["train"].tolist() == [1, 0] and labels["dev"].tolist() == [0]
    labels = CLASSES.read_labels(columns(train=[1, 0], dev=[1]), ("no", "yes"), by_position=False, where="t")
    assert labels["train"].tolist() == [1, 0]
    with pytest.raises(UserError, match=r"t \(dev\): label '7' in column 'label' is not one of no, yes"):
        CLASSES.read_labels(columns(train=["no"], dev=["7"]), ("no", "yes"), by_position=False, where="t")


def test_classification_needs_two_classes_and_regression_needs_numbers():
    with pytest.raises(UserError, match=r"column 'label' holds 1 class \(a\); expected at least two"):
        CLASSES.label_names(pd.Series(["a", "a"], name="label"), known=None, where="t")
    assert VALUES.label_names(pd.Series(["a", "a"], name="label"), known=["x", "y"], where="t") == ("score",)
    labels = VALUES.read_labels(columns(train=["1.5", "-2"]), ("score",), by_position=False, where="t")
    assert labels["train"].tolist() == [1.5, -2.0] and labels["train"].dtype == np.float64
    with pytest.raises(UserError, match=r"t: got 'a' in column 'label', row 2; .* compares numbers"):
        VALUES.read_labels(columns(train=["1.5", "a"]), ("score",), by_position=False, where="t")
    counts = range(5)
    assert [count for count in counts if CLASSES.has_outputs(count)] == [2, 3, 4]
    assert [count for count in counts if VALUES.has_outputs(count)] == [1]


def test_a_task_knows_its_type(tmp_path, reviews):
    assert load_task(name="t", data=reviews, text=["text"], label="label").type == "classification"
    numbers = [(text, index / 7) for index, (text, _) in enumerate(rows(60))]
    path = write_csv(tmp_path / "numbers.csv", ("text", "label"), numbers)
    task = load_task(name="t", data=path, text=["text"], label="label", task_type="regression", max_rows=20)
    assert task.type == "regression" and task.labels == ("score",) and task.train.labels.dtype == np.float64
    assert len(task.train) + len(task.dev) == 20 and not any("no row has" in remark for remark in task.remarks)


# -- choice of the type


def test_without_a_type_the_metric_selects_it():
    assert {metric: type_for_metric(metric) for metric in get_args(metrics.Metric)} == {
        "accuracy": "classification",
        "macro_f1": "classification",
        "f1": "classification",
        "matthews": "classification",
        "pearson_spearman": "regression",
    }


def recipe(tmp_path: Path, **task: object) -> str:
    content = {
        "name": "t",
        "task": {"data": "x.csv", **task},
        "teacher": {"base": "b"},
        "student": {"preset": "tinybert4"},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({}, ("classification", "accuracy")),
        ({"metric": "f1"}, ("classification", "f1")),
        ({"metric": "pearson_spearman"}, ("regression", "pearson_spearman")),
        ({"type": "regression"}, ("regression", "pearson_spearman")),
        ({"type": "classification"}, ("classification", "accuracy")),
        ({"type": "classification", "metric": "matthews"}, ("classification", "matthews")),
    ],
)
def test_the_type_of_a_recipe(tmp_path, task, expected):
    section = load_recipe(recipe(tmp_path, **task)).task
    assert (section.task_type, section.metric) == expected


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": "regression", "metric": "f1"}, "task: type is regression, but the metric f1 is for classification"),
        ({"type": "classification", "metric": "pearson_spearman"}, "expected accuracy, macro_f1, f1, matthews"),
        ({"type": "ranking"}, "task.type: got 'ranking'; expected 'classification' or 'regression'"),
        ({"type": "regression", "labels": ["a", "b"]}, "labels lists classes"),
        ({"positive": "a", "labels": ["a", "b"]}, "positive is a of the labels a, b, but the metric is accuracy"),
        ({"positive": "c", "labels": ["a", "b"], "metric": "f1"}, "'c' is not one of the labels: a, b"),
        ({"positive": "a", "labels": ["a", "b", "c"], "metric": "f1"}, "for 3 labels (a, b, c); expected two labels"),
        ({"positive": 1, "type": "regression"}, "positive is 1, but the metric is pearson_spearman"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused_in_one_line(tmp_path, task, message):
    with pytest.raises(UserError) as error:
        load_recipe(recipe(tmp_path, **task))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_problem_type_or_a_single_output_makes_a_model_a_regression(tmp_path, tokenizer):
    assert type_of_model(None, ["a", "b"]) == type_of_model("single_label_classification", ["a", "b"])
    assert type_of_model(None, ["a", "b"]) == "classification"
    assert type_of_model(None, ["a"]) == "regression" == type_of_model("regression", ["a", "b"])
    torch.manual_seed(0)
    for labels, expected in ((("score",), "regression"), (LABELS, "classification")):
        folder = tmp_path / expected
        label_options = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {}}
        BertForSequenceClassification(config(**label_options)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        assert sources.task_type_of(str(folder)) == TorchPredictor(folder).task_type == expected


# -- bundles


@pytest.fixture(scope="module", params=NAMES)
def bundle(request, tmp_path_factory, tokenizer) -> tuple[TaskTypeName, Path]:
    """A bundle of each type."""
    name: TaskTypeName = request.param
    folder = tmp_path_factory.mktemp("bundles") / name
    labels = {"classification": list(LABELS), "regression": ["score"]}[name]
    torch.manual_seed(0)
    model = BertForSequenceClassification(config(num_labels=len(labels), id2label=dict(enumerate(labels)))).eval()
    graph = folder.with_suffix(".onnx")
    export_onnx(model, graph)
    info = BundleInfo(
        name="tiny", variant="fp32", task_type=name, labels=labels, takes_pairs=False, max_length=32, pad_token_id=0,
        saturates=False,
    )  # fmt: skip
    write_bundle(folder, info, model_file=graph, config=model.config, tokenizer=tokenizer)
    return name, folder


def with_changed_json(folder: Path, target: Path, **changes: object) -> Path:
    """A copy of the bundle with changed keys in bundle.json. None removes a key."""
    shutil.copytree(folder, target)
    content = json.loads((target / "bundle.json").read_text())
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    (target / "bundle.json").write_text(json.dumps(content))
    seal(target)
    return target


def test_a_bundle_has_a_task_type_and_one_of_0_1_0_works_without(bundle, tmp_path):
    name, folder = bundle
    old = with_changed_json(folder, tmp_path / "old", task_type=None)
    assert json.loads((folder / "bundle.json").read_text())["task_type"] == name
    assert "task_type" not in json.loads((old / "bundle.json").read_text())
    answers = []
    for each in (folder, old):
        assert read_bundle_info(each).task_type == name
        assert Classifier(each).task_type == name
        completed = subprocess.run(
            [sys.executable, "-I", each / "predict.py", "the film"], capture_output=True, text=True
        )
        answers.append(json.loads(completed.stdout))
    assert answers[0] == answers[1]
    assert set(answers[0]) == {"classification": {"label", "probability"}, "regression": {"score"}}[name]


def test_predict_py_gives_the_answers_of_the_type(bundle):
    name, folder = bundle
    classifier = Classifier(folder)
    logits = classifier.logits([text for text, _ in rows(5)])
    np.testing.assert_array_equal(classifier.answers(logits), task_type(name).answers(logits))


def test_a_bundle_of_an_unknown_type_is_refused(bundle, tmp_path):
    _, folder = bundle
    with pytest.raises(BundleError, match="got task type 'ranking'; expected classification or regression"):
        Classifier(with_changed_json(folder, tmp_path / "new", task_type="ranking"))


# -- the model class


@pytest.mark.parametrize("name", NAMES)
def test_the_model_class_is_for_sequence_classification(name, teacher_folder):
    assert task_type(name).model_class() is AutoModelForSequenceClassification
    weights = loading.load_classifier(str(teacher_folder), LABELS, task_type=name).state_dict()
    expected = AutoModelForSequenceClassification.from_pretrained(teacher_folder).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weight, expected[key]) for key, weight in weights.items())


def test_task_types_import_neither_torch_nor_pandas():
    heavy = "('torch', 'transformers', 'optimum', 'pandas', 'scipy', 'sklearn')"
    code = f"import sys, compress.data.task_types; print([name for name in {heavy} if name in sys.modules])"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert completed.stdout == "[]\n"


# -- phrases


def test_each_type_has_its_phrases():
    batches = BatchInvariance(num_rows=64, batch_shift=0.1, padding_shift=0.02, num_label_changes=3, example=None)
    classes, values = phrases_for("classification"), phrases_for("regression")
    assert classes.outputs(LABELS) == "2 labels (negative, positive)"
    assert values.outputs(["score"]) == "a number per text"
    assert "3 of 64 labels change" in classes.about_batches(batches) and "labels" not in values.about_batches(batches)
    label_drift, value_drift = CLASSES.drift(LOGITS, REFERENCE), VALUES.drift(LOGITS[:, :1], REFERENCE[:, :1])
    drift_phrase = classes.about_drift(label_drift, 2)
    assert drift_phrase == "the teacher's label flips in 66.7% of 3 augmented texts; 2 of them dropped"
    assert values.about_drift(value_drift, 0).startswith("the teacher's value changes by 0.67 on average")
    assert (classes.baseline, values.baseline) == ("TF-IDF + logistic regression", "TF-IDF + ridge regression")


# -- no other code checks the number of labels


ALLOWED = {
    "compress/data/task_types.py",
    "compress/data/metrics.py",  # f1 for two classes
    "export/bundle/settings.py",  # predict.py, which reads bundles of version 0.1.0
}
LABEL_NAMES = ("labels", "names", "label_names", "id2label", "classes", "outputs", "num_labels", "num_classes")
TYPE_CHECKS = ("dtype.kind", "is_regression")


def counts_labels(node: ast.AST) -> bool:
    """Whether a node compares the number of labels or the width of an array with a constant, or checks a data type."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        constant = any(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in sides)
        return constant and any(_is_a_count(side) for side in sides)
    return isinstance(node, ast.Attribute) and ast.unparse(node).endswith(TYPE_CHECKS)


def _is_a_count(side: ast.AST) -> bool:
    text = ast.unparse(side).replace('"', "").replace("'", "").rstrip("])")
    if isinstance(side, ast.Call) and ast.unparse(side.func) == "len":
        return text.replace("(", ".").replace("[", ".").rpartition(".")[2] in LABEL_NAMES
    if isinstance(side, ast.Subscript):
        return ast.unparse(side).endswith((".shape[1]", ".shape[-1]"))
    return text.rpartition(".")[2] in ("num_labels", "num_classes")


def test_no_other_code_checks_the_number_of_labels():
    num_files, checks = 0, []
    for package in ("compress", "export", "bench", "pocketbert"):
        for path in sorted((ROOT / package).rglob("*.py")):
            num_files += 1
            name = path.relative_to(ROOT).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            checks += [f"{name}:{node.lineno}" for node in ast.walk(tree) if counts_labels(node)]
    assert num_files > 100
    assert {each.partition(":")[0] for each in checks} == ALLOWED, checks


@pytest.mark.parametrize(
    "line",
    [
        "len(labels) == 1", "1 < len(self.labels)", "len(info.labels) != 1", "len(results['labels']) > 1",
        "logits.shape[1] == 1", "student.shape[-1] == 1", "num_classes > 1", "model.config.num_labels == 1",
        "train.labels.dtype.kind == 'f'", "task.is_regression", "len(names) < 2", "len(task.labels) == 2",
    ],
)  # fmt: skip
def test_a_planted_check_is_detected(line):
    assert any(map(counts_labels, ast.walk(ast.parse(line))))
