"""Task metrics."""

from typing import Literal

import numpy as np

Metric = Literal["accuracy", "f1", "matthews", "pearson_spearman"]
FEWEST_ANSWERS = 5


def better_order(labels: np.ndarray, answers: np.ndarray, *, num_classes: int) -> list[int] | None:
    """For each class that a model answers, the class that is probably meant; None where the order seems right.

    It is told only where accuracy would be more than a half higher, and where most of the rows answered with each class
    that moves (five at the least) are of the class it stands for: a model that is merely bad, or always answers the
    same, is not called confused.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics

    counts = metrics.confusion_matrix(labels, answers, labels=range(num_classes))
    meant, answered = linear_sum_assignment(counts, maximize=True)
    right, moved = counts[meant, answered], meant != answered
    gain = (right.sum() - counts.trace()) / len(labels)
    sure = (right >= FEWEST_ANSWERS) & (right > counts.sum(axis=0)[answered] / 2)
    return meant[np.argsort(answered)].tolist() if gain > 0.5 and sure[moved].all() else None


def score(metric: Metric, labels: np.ndarray, answers: np.ndarray, *, num_classes: int) -> float:
    """The metric of a model's answers, both (rows,). `num_classes`: those of the task, where there are classes.

    f1 is that of class 1 for two classes, else the macro mean over the classes that `labels` hold. pearson_spearman is
    the mean of both correlations (GLUE's figure for STS-B); 0 where all answers are equal.
    """
    from scipy import stats
    from sklearn import metrics

    match metric:
        case "accuracy":
            return float(metrics.accuracy_score(labels, answers))
        case "f1":
            if num_classes == 2:
                return float(metrics.f1_score(labels, answers))
            return float(metrics.f1_score(labels, answers, labels=np.unique(labels), average="macro"))
        case "matthews":
            return float(metrics.matthews_corrcoef(labels, answers))
        case "pearson_spearman":
            if np.ptp(answers) == 0 or np.ptp(labels) == 0:
                return 0.0
            return float(stats.pearsonr(labels, answers)[0] + stats.spearmanr(labels, answers)[0]) / 2
