"""Task metrics."""

from typing import Literal

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

Metric = Literal["accuracy", "f1", "matthews"]


def score(metric: Metric, labels: np.ndarray, predictions: np.ndarray) -> float:
    """The metric of class predictions, both (rows,). F1 is of class 1 for two classes, else the macro mean."""
    match metric:
        case "accuracy":
            return float(accuracy_score(labels, predictions))
        case "f1":
            average = "binary" if set(labels) | set(predictions) <= {0, 1} else "macro"
            return float(f1_score(labels, predictions, average=average))
        case "matthews":
            return float(matthews_corrcoef(labels, predictions))
