"""The TF-IDF baseline: its rows, its decision scores and the selection of its regularisation."""

import numpy as np
import pytest

from bench.analysis import tfidf_baseline
from bench.analysis.tfidf_baseline import decision_scores, fit_baseline
from compress.data.columns import Split
from compress.data.tasks import Task
from tiny_bert import LABELS, rows


def task_of(split: Split, labels: tuple[str, ...] = LABELS, **changes: object) -> Task:
    fields = {"name": "t", "type": "classification", "labels": labels, "max_length": 8}
    return Task(**{**fields, "train": split, "dev": split, "test": split, **changes})


def reviews(count: int = 200) -> Split:
    texts, names = zip(*rows(count), strict=True)
    return Split(texts=list(texts), pairs=None, labels=np.array([LABELS.index(name) for name in names]))


def test_the_decision_scores_are_logits_of_all_classes():
    split = reviews()
    fitted = fit_baseline(task_of(split), "accuracy")
    assert fitted.dev_scores.shape == (200, 2) and fitted.dev_scores.dtype == np.float32
    probabilities = fitted.model.predict_proba(split.texts)
    shifted = np.exp(fitted.dev_scores)
    assert shifted / shifted.sum(axis=1, keepdims=True) == pytest.approx(probabilities, abs=1e-5)
    assert (fitted.dev_scores.argmax(axis=1) == fitted.model.predict(split.texts)).all()
    wider = task_of(Split(texts=split.texts, pairs=None, labels=2 * split.labels), ("a", "no row", "b"))
    scores = fit_baseline(wider, "accuracy").dev_scores
    assert scores.shape == (200, 3) and set(scores.argmax(axis=1).tolist()) == {0, 2}


def test_of_a_large_table_random_rows_are_fitted_with_every_class(monkeypatch):
    split = reviews()
    split.labels[:] = 0
    split.labels[:100] = 1
    split.labels[137] = 2
    monkeypatch.setattr(tfidf_baseline, "MAX_ROWS", 50)
    task = task_of(split, ("a", "b", "rare"))
    first, again, other = (fit_baseline(task, "accuracy", seed=seed) for seed in (0, 0, 1))
    assert 50 <= first.num_rows <= 51 and list(first.model[-1].classes_) == [0, 1, 2]
    assert np.array_equal(first.dev_scores, again.dev_scores)
    assert not np.array_equal(first.dev_scores, other.dev_scores)
    monkeypatch.setattr(tfidf_baseline, "MAX_CHARACTERS", 300)
    assert fit_baseline(task, "accuracy").num_rows < 30


def test_the_metric_of_the_task_selects_the_regularisation(monkeypatch):
    """A model that sees spam in 13 dev rows, 8 of them wrongly, is worse in accuracy than one that never does."""
    train = Split(
        texts=[f"offer{index % 7} {'spam' if index % 5 == 0 else 'film'}" for index in range(200)],
        pairs=None,
        labels=(np.arange(200) % 5 == 0).astype(int),
    )
    dev = Split(
        texts=["spam"] * 5 + ["film"] * 5 + ["spam"] * 8 + ["film"] * 82,
        pairs=None,
        labels=(np.arange(100) < 10).astype(int),
    )
    monkeypatch.setattr(tfidf_baseline, "STRENGTHS", (1e-4, 30.0))
    assert fit_baseline(task_of(train, dev=dev), "accuracy").strength == 1e-4
    assert fit_baseline(task_of(train, dev=dev), "macro_f1").strength == 30.0


def test_pairs_are_joined_and_values_have_one_output():
    generator = np.random.default_rng(0)
    words = generator.integers(5, size=(100, 2))
    split = Split(
        texts=[f"word{a} here" for a, _ in words], pairs=[f"word{b} there" for _, b in words], labels=words.sum(1) * 1.0
    )
    fitted = fit_baseline(task_of(split, ("score",), type="regression"), "pearson_spearman")
    scores = decision_scores(fitted.model, split, 1)
    assert scores.shape == (100, 1) and np.corrcoef(scores[:, 0], split.labels)[0, 1] > 0.9
