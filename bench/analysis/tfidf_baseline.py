"""The TF-IDF baseline: a linear model over TF-IDF features. A student should beat it to be worth shipping."""

import warnings
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from compress.common.errors import library_errors
from compress.data.columns import Split
from compress.data.metrics import Metric, Positive
from compress.data.task_types import TaskTypeName, task_type
from compress.data.tasks import Task

FILE = "tfidf.joblib"
STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # inverse regularisation strengths to try
MAX_ROWS = 20_000
MAX_CHARACTERS = 20_000_000  # of all fitted texts: about 10 s on one core
MAX_FEATURES = 50_000  # the most frequent words and word pairs
MAX_EPOCHS, TOLERANCE = 20, 1e-2  # of the solver: more precision does not raise the score


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A fitted baseline. `model`: maps joined texts to predictions. `dev_scores`: of `decision_scores`."""

    model: Pipeline
    strength: float
    num_rows: int
    dev_scores: np.ndarray


def fit_baseline(task: Task, metric: Metric, *, positive: Positive | None = None, seed: int = 0) -> Baseline:
    """Fit the baseline on at most 20,000 random rows of train, and select the regularisation by the metric on dev."""
    type_ = task_type(task.type)
    rows = _sample(task.train, type_.groups(task.train.labels), seed)
    features = _fitted_features(rows)
    inputs = features.transform(join_pairs(rows))
    best: tuple[float, Baseline] | None = None
    for strength in STRENGTHS:
        model = _linear_model(task.type, strength, seed)
        with library_errors("the TF-IDF baseline cannot be trained on the train rows"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few epochs act like more regularisation; many classes are no mistake
            model.fit(inputs, rows.labels)
        pipeline = make_pipeline(features, model)
        dev_scores = decision_scores(pipeline, task.dev, len(task.labels))
        score = task.score(metric, task.dev.labels, type_.decide(dev_scores), positive=positive)
        if best is None or score > best[0]:
            baseline = Baseline(model=pipeline, strength=strength, num_rows=len(rows), dev_scores=dev_scores)
            best = score, baseline
    assert best is not None
    return best[1]


def decision_scores(model: Pipeline, split: Split, num_labels: int) -> np.ndarray:
    """The outputs of the baseline in the form of logits, (rows, classes) or (rows, 1) float32."""
    texts, linear = join_pairs(split), model[-1]
    if isinstance(linear, Ridge):
        return np.asarray(model.predict(texts), dtype=np.float32)[:, np.newaxis]
    scores = np.asarray(model.decision_function(texts))
    if scores.ndim == 1:  # two classes: the logit of the second
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    logits = np.full((len(texts), num_labels), scores.min() - 1, dtype=np.float32)  # of classes without rows
    logits[:, linear.classes_] = scores
    return logits


def join_pairs(split: Split) -> list[str]:
    """One text per row. The two texts of a pair are joined by a space."""
    return [" ".join(row) for row in split.rows()]


def _sample(train: Split, groups: np.ndarray, seed: int) -> Split:
    """Random rows within the limits, and at least one of each group. `groups`: the class of each row."""
    order = np.random.default_rng(seed).permutation(len(train))
    lengths = np.array([len(text) for text in join_pairs(train)])[order]
    is_kept = (np.arange(len(train)) < MAX_ROWS) & (lengths.cumsum() <= MAX_CHARACTERS)
    if is_kept.all():
        return train
    is_kept[np.unique(groups[order], return_index=True)[1]] = True
    return train.take(np.sort(order[is_kept]))


def _fitted_features(rows: Split) -> TfidfVectorizer:
    texts = join_pairs(rows)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MAX_FEATURES, dtype=np.float32)
    has_words = any(map(words.build_analyzer(), texts))  # of two letters or more
    features = words if has_words else words.set_params(analyzer="char")
    with library_errors("the TF-IDF baseline cannot be trained on the train rows"):
        return features.fit(texts)


def _linear_model(name: TaskTypeName, strength: float, seed: int) -> Ridge | LogisticRegression:
    match name:
        case "classification":
            # the only solver that is fast with 150 classes: 20,000 rows take seconds, lbfgs takes minutes
            return LogisticRegression(C=strength, solver="sag", tol=TOLERANCE, max_iter=MAX_EPOCHS, random_state=seed)
        case "regression":
            return Ridge(alpha=1 / strength, random_state=seed)
    assert_never(name)
