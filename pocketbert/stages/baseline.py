"""The baseline stage: fit and score the TF-IDF baseline, before anything is trained. Loads no torch."""

from pathlib import Path

import numpy as np

from bench.results.phrases import phrases_for
from compress.data.metrics import Metric
from compress.results import BaselineResult, SplitScores
from pocketbert.stage_parts.context import DEV_PREDICTIONS, DEV_SCORES, StageContext
from pocketbert.store.workspace import Workspace


def make_baseline(context: StageContext, workspace: Workspace) -> BaselineResult:
    """Fit the baseline in the main process. Keep the model, and its predictions and decision scores on dev."""
    return workspace.decide(lambda: _fit(context, workspace.output))


def _fit(context: StageContext, output: Path) -> BaselineResult:
    import joblib

    from bench.analysis import tfidf_baseline  # loads scikit-learn

    task, metric = context.task, context.recipe.task.metric
    fitted = tfidf_baseline.fit_baseline(task, metric, positive=context.positive, seed=context.recipe.seed)
    joblib.dump(fitted.model, output / tfidf_baseline.FILE, compress=3)
    on_dev = context.task_type.decide(fitted.dev_scores)
    on_test = on_dev
    if not task.selected_on_test:
        on_test = context.task_type.decide(tfidf_baseline.decision_scores(fitted.model, task.test, len(task.labels)))
    np.save(output / DEV_SCORES, fitted.dev_scores)
    np.save(output / DEV_PREDICTIONS, on_dev)
    constant = _most_common(context)
    return BaselineResult(
        model=phrases_for(task.type).baseline,
        scores=_scores(context, metric, on_dev, on_test),
        most_common=_scores(context, metric, np.full(len(task.dev), constant), np.full(len(task.test), constant)),
        most_common_accuracy=_scores(
            context, "accuracy", np.full(len(task.dev), constant), np.full(len(task.test), constant)
        )
        if context.task_type.has_classes
        else None,
        num_rows=fitted.num_rows,
        strength=fitted.strength,
    )


def _most_common(context: StageContext) -> np.generic:
    """The most common class of train, or the mean of the values."""
    labels = context.task.train.labels
    return np.bincount(labels).argmax() if context.task_type.has_classes else labels.mean()


def _scores(context: StageContext, metric: Metric, on_dev: np.ndarray, on_test: np.ndarray) -> SplitScores:
    dev, test = (
        context.task.score(metric, split.labels, predictions, positive=context.positive)
        for split, predictions in ((context.task.dev, on_dev), (context.task.test, on_test))
    )
    return SplitScores(dev=dev, test=test)
