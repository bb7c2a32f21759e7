"""A test of whether the outputs of a model carry any information about the labels."""

import numpy as np

from compress.data.task_types import TaskTypeName


def signal_p_value(task_type: TaskTypeName, labels: np.ndarray, logits: np.ndarray) -> float:
    """The one-sided p-value of the hypothesis that the outputs carry no information about the labels.

    `labels`: (rows,). `logits`: (rows, outputs). The test uses ranks only. It is 1 if any output is not finite.
    """
    if len(logits) < 3 or not np.isfinite(logits).all():
        return 1.0
    match task_type:
        case "classification":
            return _p_value_of_classes(labels, logits)
        case "regression":
            return _p_value_of_values(labels, logits[:, 0])


def _p_value_of_classes(labels: np.ndarray, logits: np.ndarray) -> float:
    """The p-value of the mean rank of each row's probability of its own label, among the rows' probabilities of it.

    For two classes this is the Mann-Whitney test. Under the null hypothesis all permutations of the labels are equally
    likely. The mean and the variance of the sum of ranks are then exact, and the sum is nearly normal (Hoeffding,
    "A combinatorial central limit theorem", 1951).
    """
    from scipy import stats

    num_rows = len(labels)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    ranks = stats.rankdata(log_probabilities, axis=0) - (num_rows + 1) / 2  # the mean over the rows is 0
    shares = np.bincount(labels, minlength=logits.shape[1]) / num_rows
    centred = ranks - (ranks @ shares)[:, np.newaxis]  # the mean over the labels is 0 too
    variance = (centred**2 @ shares).sum() * num_rows / (num_rows - 1)
    if variance == 0:
        return 1.0
    return float(stats.norm.sf(ranks[np.arange(num_rows), labels].sum() / np.sqrt(variance)))


def _p_value_of_values(labels: np.ndarray, outputs: np.ndarray) -> float:
    """The p-value of Spearman's rank correlation."""
    from scipy import stats

    if np.ptp(labels) == 0 or np.ptp(outputs) == 0:
        return 1.0
    return float(stats.spearmanr(labels, outputs, alternative="greater").pvalue)
