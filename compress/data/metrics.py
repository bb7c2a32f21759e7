"""Task metrics."""

from typing import Literal

import numpy as np

Metric = Literal["accuracy", "f1", "matthews", "pearson_spearman"]
MIN_SUPPORT = 5  # correctly predicted rows per moved class
CERTAIN, SUSPECTED, SUSPECTED_IF_COMPLETE = 0.002, 0.001, 0.02  # p-values of a sign test, each with other conditions
STANDARD_ERRORS = 1.645  # one-sided, 95 %


def better_order(
    labels: np.ndarray, predictions: np.ndarray, *, num_classes: int, suspected: bool = False
) -> list[int] | None:
    """For each predicted class, the class that it probably means; None if the order seems right.

    Classes move in cycles, such as two that are swapped. On the rows of its classes, a cycle must raise accuracy by
    more than 0.5. Each moved class needs the support of a majority of its rows, and of at least five. A model that is
    inaccurate or always predicts one class therefore returns None. `suspected`: also return cycles with a smaller
    gain that is significant, or with fewer rows.
    """
    from scipy import stats
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    counts = metrics.confusion_matrix(labels, predictions, labels=range(num_classes))
    keeps_ties = np.eye(num_classes) / (num_classes + 1)
    actual, predicted = linear_sum_assignment(counts + keeps_ties, maximize=True)
    meaning = actual[np.argsort(predicted)]
    order = np.arange(num_classes)
    for cycle in _cycles(meaning):
        num_moved, num_kept = counts[meaning[cycle], cycle], counts[cycle, cycle]
        p_value = stats.binomtest(int(num_moved.sum()), int((num_moved + num_kept).sum()), alternative="greater").pvalue
        gain = (num_moved.sum() - num_kept.sum()) / counts[cycle].sum()
        is_majority = (num_moved > counts[:, cycle].sum(axis=0) / 2).all() and gain > 0.5
        is_likely = p_value < CERTAIN and is_majority and (num_moved >= MIN_SUPPORT).all()
        if suspected:
            is_significant = p_value < SUSPECTED and (num_moved >= MIN_SUPPORT).all()
            is_complete = p_value < SUSPECTED_IF_COMPLETE and is_majority and not num_kept.any()
            is_likely |= (num_moved > num_kept).all() and (is_significant or is_complete)
        if is_likely:
            order[cycle] = meaning[cycle]
    return order.tolist() if (order != np.arange(num_classes)).any() else None


def is_below_baseline(accuracy: float, labels: np.ndarray) -> bool:
    """Whether accuracy is below that of always predicting the most common label, by more than its sampling error."""
    baseline = np.bincount(labels).max() / len(labels)
    return bool(baseline - accuracy > STANDARD_ERRORS * np.sqrt(accuracy * (1 - accuracy) / len(labels)))


def _cycles(permutation: np.ndarray) -> list[np.ndarray]:
    """The cycles of a permutation that move something."""
    rest, cycles = set(np.flatnonzero(permutation != np.arange(len(permutation))).tolist()), []
    while rest:
        cycle = [rest.pop()]
        while (following := int(permutation[cycle[-1]])) in rest:
            rest.remove(following)
            cycle.append(following)
        cycles.append(np.array(cycle))
    return cycles


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
