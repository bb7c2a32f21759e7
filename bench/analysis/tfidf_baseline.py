"""The TF-IDF baseline: a linear model over TF-IDF features. A student should beat it to be worth shipping."""

from pathlib import Path
from typing import assert_never

import joblib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from bench.results.phrases import phrases_for
from compress.common.errors import library_errors
from compress.data.columns import Split
from compress.data.task_types import TaskTypeName
from compress.data.tasks import Task

STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # inverse regularisation strengths to try


def baseline_name(task: Task) -> str:
    """The name of the baseline in tables."""
    return phrases_for(task.type).baseline


def fit_baseline(task: Task, path: Path) -> None:
    """Fit the baseline on train, select the regularisation on dev, and save the model."""
    candidates = [_fit(task, strength) for strength in STRENGTHS]
    best = max(candidates, key=lambda model: model.score(join_pairs(task.dev), task.dev.labels))
    joblib.dump(best, path, compress=3)


def join_pairs(split: Split) -> list[str]:
    """One text per row. The two texts of a pair are joined by a space."""
    return [" ".join(row) for row in split.rows()]


def _fit(task: Task, strength: float) -> Pipeline:
    texts = join_pairs(task.train)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    has_words = any(map(words.build_analyzer(), texts))  # of two letters or more
    features = words if has_words else TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(features, _linear_model(task.type, strength))
    with library_errors("the TF-IDF baseline cannot be trained on the train rows"):
        return model.fit(texts, task.train.labels)


def _linear_model(task_type: TaskTypeName, strength: float) -> Ridge | LogisticRegression:
    match task_type:
        case "classification":
            return LogisticRegression(C=strength, max_iter=1000)
        case "regression":
            return Ridge(alpha=1 / strength)
    assert_never(task_type)
