"""The floor: TF-IDF and a linear model. A student that does not beat it need not be shipped."""

from pathlib import Path
from typing import assert_never

import joblib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from bench.results.phrases import words_for
from compress.data.columns import Split
from compress.data.task_types import TaskTypeName
from compress.data.tasks import Task

STRENGTHS = (1.0, 3.0, 10.0, 30.0)


def baseline_name(task: Task) -> str:
    """What the floor is called in the table."""
    return words_for(task.type).floor


def fit_baseline(task: Task, path: Path) -> None:
    """Fit on train, choose the regularisation on dev, save."""
    candidates = [_fit(task, strength) for strength in STRENGTHS]
    best = max(candidates, key=lambda model: model.score(joined(task.dev), task.dev.labels))
    joblib.dump(best, path, compress=3)


def joined(split: Split) -> list[str]:
    """One text per row; the two texts of a pair, one after the other."""
    return [" ".join(row) for row in split.rows()]


def _fit(task: Task, strength: float) -> Pipeline:
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), _linear(task.type, strength))
    return model.fit(joined(task.train), task.train.labels)


def _linear(task_type: TaskTypeName, strength: float) -> Ridge | LogisticRegression:
    match task_type:
        case "classification":
            return LogisticRegression(C=strength, max_iter=1000)
        case "regression":
            return Ridge(alpha=1 / strength)
    assert_never(task_type)
