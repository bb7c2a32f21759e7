"""The floor: TF-IDF and logistic regression. A student that does not beat it need not be shipped."""

from pathlib import Path

import joblib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from compress.tasks import Split, Task

STRENGTHS = (1.0, 3.0, 10.0, 30.0)


def fit_floor(task: Task, path: Path) -> float:
    """Fit on train, choose the regularisation on dev, save, and return the dev accuracy."""
    candidates = [_fit(task.train, strength) for strength in STRENGTHS]
    scores = [float(model.score(joined(task.dev), task.dev.labels)) for model in candidates]
    best = max(range(len(scores)), key=scores.__getitem__)
    joblib.dump(candidates[best], path, compress=3)
    return scores[best]


def joined(split: Split) -> list[str]:
    """One text per row; the two texts of a pair, one after the other."""
    return [" ".join(row) for row in split.rows()]


def _fit(train: Split, strength: float) -> Pipeline:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=strength, max_iter=1000)
    )
    return model.fit(joined(train), train.labels)
