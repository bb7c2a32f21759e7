"""Task metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from compress.common.errors import UserError
from compress.data.label_matching import listed, match_names

Metric = Literal["accuracy", "macro_f1", "f1", "matthews", "pearson_spearman"]
MIN_SUPPORT = 5  # correctly predicted rows per moved class
CERTAIN, SUSPECTED, SUSPECTED_IF_COMPLETE = 0.002, 0.001, 0.02  # p-values of a sign test, each with other conditions
STANDARD_ERRORS = 1.645  # one-sided, 95 %


@dataclass(frozen=True, kw_only=True)
class Positive:
    """The class whose F1 is the metric `f1` of a task with two classes. `index`: among the labels of the task."""

    index: int
    name: str


def definition(metric: Metric) -> str:
    """What a metric measures, as a phrase. The description of `task.metric` is made of these."""
    match metric:
        case "accuracy":
            return "the share of rows with the right label"
        case "macro_f1":
            return "the mean F1 over the classes that occur in the labels"
        case "f1":
            return "the F1 of the class `task.positive`, for two classes (for more it equals macro_f1)"
        case "matthews":
            return "the Matthews correlation coefficient"
        case "pearson_spearman":
            return "the mean of both correlations"
    assert_never(metric)


def metric_name(metric: Metric, positive: str | None) -> str:
    """The name of a metric in reports, such as accuracy, or "f1 of spam". `positive`: the class, if it is known."""
    return metric if positive is None else f"{metric} of {positive}"


def positive_class(metric: Metric, name: str | None, labels: Sequence[str]) -> Positive | None:
    """The class `name`, by default the second label. None if the metric is not f1, or without two labels.

    `name` may differ from the label in case, blanks, _ and -. Raises UserError if it is no label, or if there are not
    two.
    """
    if name is None:
        return Positive(index=1, name=labels[1]) if metric == "f1" and len(labels) == 2 else None
    if metric != "f1":
        raise UserError(
            f"got the positive class {name!r} for the metric {metric}; only f1 has one, of the labels {listed(labels)}",
            option="positive",
        )
    if len(labels) != 2:
        raise UserError(
            f"got the positive class {name!r} for {len(labels)} labels ({listed(labels)}); expected two labels, or the "
            "metric macro_f1 without a positive class",
            option="positive",
        )
    index = match_names([name], labels).get(name)
    if index is None:
        raise UserError(f"the positive class {name!r} is not one of the labels: {listed(labels)}", option="positive")
    return Positive(index=index, name=labels[index])


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


def score(
    metric: Metric,
    labels: np.ndarray,
    predictions: np.ndarray,
    *,
    num_classes: int,
    positive: Positive | None = None,
) -> float:
    """The metric of predictions against labels, (rows,) each; see `definition`.

    `num_classes`: of the task, if it has classes. `positive`: of f1 for two classes; by default class 1.
    pearson_spearman is as in GLUE for STS-B. It is 0 if all predictions are equal.
    """
    match metric:
        case "accuracy":
            return float((labels == predictions).mean())
        case "f1" if num_classes == 2:
            return float(_f1(labels, predictions)[1 if positive is None else positive.index])
        case "f1" | "macro_f1":
            return float(_f1(labels, predictions)[np.unique(labels).astype(int)].mean())
        case "matthews":
            return _matthews(labels, predictions)
        case "pearson_spearman":
            return _correlation(labels, predictions)
    assert_never(metric)


def _counts(labels: np.ndarray, predictions: np.ndarray) -> list[np.ndarray]:
    """By class: the number of rows with this label, with this prediction, and with both."""
    size = max(2, 1 + int(labels.max()), 1 + int(predictions.max()))
    correct = labels[labels == predictions]
    return [np.bincount(each.astype(int), minlength=size) for each in (labels, predictions, correct)]


def _f1(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The F1 of each class; 0 for a class without rows."""
    actual, predicted, correct = _counts(labels, predictions)
    return 2 * correct / np.maximum(1, actual + predicted)


def _matthews(labels: np.ndarray, predictions: np.ndarray) -> float:
    """The Matthews correlation. It is 0 if all labels or all predictions are equal."""
    actual, predicted, correct = _counts(labels, predictions)
    variances = [float(len(labels) ** 2 - (counts**2).sum()) for counts in (actual, predicted)]
    if 0 in variances:
        return 0.0
    covariance = float(correct.sum() * len(labels) - (actual * predicted).sum())
    return covariance / (variances[0] * variances[1]) ** 0.5


def _correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    """The mean of Pearson's and Spearman's correlation."""
    from scipy.stats import rankdata

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    pearson = np.corrcoef(labels, predictions)[0, 1]
    return float(pearson + np.corrcoef(rankdata(labels), rankdata(predictions))[0, 1]) / 2
