"""Scores the predictions of a benchmark, and compares them with those of the teacher and the baseline, text by text."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from bench.results.benchmark import ClassCount, Role
from bench.results.measurements import Ratio
from bench.timing.systems import Workload
from compress.data.metrics import Metric
from compress.data.task_types import task_type
from export.parity.significance import paired_difference
from export.results import MetricDifference

RESAMPLES = 400
SMOOTHING = 0.5  # rows added to each outcome, so that few rows do not give an interval of width 0
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class SystemScores:
    """The scores of one system. The fields are those of `BenchmarkRow`."""

    score: float
    score_interval: tuple[float, float]
    retention: Ratio | None
    minus_baseline: MetricDifference | None
    never_predicted: list[ClassCount] | None


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Predictions and their score. `resampled`: scores of resampled rows, the same rows for all; None for accuracy."""

    predictions: np.ndarray
    score: float
    resampled: np.ndarray | None


def score_systems(
    predictions: Mapping[int, np.ndarray], roles: Mapping[int, Role], workload: Workload, metric: Metric
) -> dict[int, SystemScores]:
    """Score each system.

    `predictions`: by the id of the row, (texts,). `roles`: of the same rows. Returns nothing for a workload without
    labels.
    """
    if workload.labels is None:
        return {}
    labels = np.asarray(workload.labels)
    scored = {row_id: _scored(each, labels, workload, metric) for row_id, each in predictions.items()}
    teacher, baseline = (
        next((scored[row_id] for row_id in scored if roles[row_id] == role), None) for role in ("teacher", "baseline")
    )
    return {
        row_id: SystemScores(
            score=own.score,
            score_interval=_interval(own, labels),
            retention=None if teacher is None or teacher is own else _retention(own, teacher, labels),
            minus_baseline=None
            if baseline is None or baseline is own
            else _difference(own, baseline, labels, workload, metric),
            never_predicted=_never_predicted(labels, own.predictions) if _has_classes(workload) else None,
        )
        for row_id, own in scored.items()
    }


def _has_classes(workload: Workload) -> bool:
    return task_type(workload.task_type).has_classes


def _scored(predictions: np.ndarray, labels: np.ndarray, workload: Workload, metric: Metric) -> _Scored:
    own_type = task_type(workload.task_type)

    def score_of(rows: np.ndarray) -> float:
        return own_type.score(metric, labels[rows], predictions[rows], workload.num_labels, positive=workload.positive)

    resampled = None
    if metric != "accuracy":
        generator = np.random.default_rng(0)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a resample may lack all rows of a class
            resampled = np.array(
                [score_of(generator.integers(len(labels), size=len(labels))) for _ in range(RESAMPLES)]
            )
    return _Scored(predictions=predictions, score=score_of(np.arange(len(labels))), resampled=resampled)


def _interval(own: _Scored, labels: np.ndarray) -> tuple[float, float]:
    """The 95 % interval over rows: Wilson's for an accuracy, else a bootstrap."""
    if own.resampled is None:
        interval = binomtest(int((labels == own.predictions).sum()), len(labels)).proportion_ci(method="wilson")
        return interval.low, interval.high
    low, high = np.nanpercentile(own.resampled, PERCENTILES)
    return float(low), float(high)


def _retention(own: _Scored, teacher: _Scored, labels: np.ndarray) -> Ratio | None:
    """The score divided by the teacher's, with a paired bootstrap; None if the teacher's score may be 0 or less."""
    if own.resampled is None or teacher.resampled is None:
        is_right, teacher_is_right = own.predictions == labels, teacher.predictions == labels
        outcomes = np.bincount(2 * is_right + teacher_is_right, minlength=4)
        shares = (outcomes + SMOOTHING) / (len(labels) + 4 * SMOOTHING)
        resampled = np.random.default_rng(0).multinomial(len(labels), shares, size=RESAMPLES)
        scores, teacher_scores = resampled[:, 2] + resampled[:, 3], resampled[:, 1] + resampled[:, 3]
    else:
        scores, teacher_scores = own.resampled, teacher.resampled
    if not teacher.score > 0 or not np.nanpercentile(teacher_scores, PERCENTILES[0]) > 0:
        return None
    is_positive = teacher_scores > 0
    low, high = np.nanpercentile(scores[is_positive] / teacher_scores[is_positive], PERCENTILES)
    return Ratio(value=own.score / teacher.score, low=float(low), high=float(high))


def _difference(
    own: _Scored, baseline: _Scored, labels: np.ndarray, workload: Workload, metric: Metric
) -> MetricDifference:
    """The score minus the baseline's, with a paired bootstrap."""
    if own.resampled is None or baseline.resampled is None:
        return paired_difference(
            metric,
            labels,
            own.predictions,
            baseline.predictions,
            task_type=task_type(workload.task_type),
            num_labels=workload.num_labels,
            positive=workload.positive,
        )
    low, high = np.nanpercentile(own.resampled - baseline.resampled, PERCENTILES)
    return MetricDifference(value=own.score - baseline.score, low=float(low), high=float(high), p_value=None)


def _never_predicted(labels: np.ndarray, predictions: np.ndarray) -> list[ClassCount]:
    """The classes in `labels` that no prediction has, most frequent first."""
    classes, counts = np.unique(labels, return_counts=True)
    missed = ~np.isin(classes, predictions)
    by_count = sorted(zip(counts[missed].tolist(), classes[missed].tolist(), strict=True), key=lambda each: -each[0])
    return [ClassCount(index=int(index), rows=int(rows)) for rows, index in by_count]
