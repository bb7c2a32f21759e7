"""Task metrics."""

from typing import Literal

import numpy as np

Metric = Literal["accuracy", "f1", "matthews", "pearson_spearman"]
MIN_SUPPORT = 5  # correctly predicted rows per moved class


def better_order(labels: np.ndarray, predictions: np.ndarray, *, num_classes: int) -> list[int] | None:
    """For each predicted class, the class that it probably means; None if the order seems right.

    Returns a permutation only if it would raise accuracy by more than 0.5. Each moved class needs the support of a
    majority of its rows, and of at least five. A model that is inaccurate or always predicts one class therefore
    returns None.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    counts = metrics.confusion_matrix(labels, predictions, labels=range(num_classes))
    actual, predicted = linear_sum_assignment(counts, maximize=True)
    num_correct, moved = counts[actual, predicted], actual != predicted
    gain = (num_correct.sum() - counts.trace()) / len(labels)
    supported = (num_correct >= MIN_SUPPORT) & (num_correct > counts.sum(axis=0)[predicted] / 2)
    return actual[np.argsort(predicted)].tolist() if gain > 0.5 and supported[moved].all() else None


def score(metric: Metric, labels: np.ndarray, predictions: np.ndarray, *, num_classes: int) -> float:
    """The metric of predictions against labels, (rows,) each. `num_classes`: of the task, if it has classes.

    For two classes, f1 is the score of class 1; otherwise it is the macro mean over the classes in `labels`.
    pearson_spearman is the mean of both correlations, as in GLUE for STS-B. It is 0 if all predictions are equal.
    """
    from scipy import stats
    from sklearn import metrics

    match metric:
        case "accuracy":
            return float(metrics.accuracy_score(labels, predictions))
        case "f1":
            if num_classes == 2:
                return float(metrics.f1_score(labels, predictions))
            return float(metrics.f1_score(labels, predictions, labels=np.unique(labels), average="macro"))
        case "matthews":
            return float(metrics.matthews_corrcoef(labels, predictions))
        case "pearson_spearman":
            if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
                return 0.0
            return float(stats.pearsonr(labels, predictions)[0] + stats.spearmanr(labels, predictions)[0]) / 2
