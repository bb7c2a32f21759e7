"""The classes of a table: their shares, the rare ones, and the metric that suits them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.data.metrics import Metric
from compress.data.task_types import task_type
from compress.data.tasks import Task

CLASSES_LISTED = 8
FEW_TRAIN_ROWS, FEW_DEV_ROWS = 10, 2
RARE_SHARE = 0.2  # of the rows, in the rarer of two classes
FREQUENT, RARE = 2.0, 0.2  # rows of a class of many, relative to the mean over the classes
MAX_NAME = 24  # letters of a class in a message


@dataclass(frozen=True, kw_only=True)
class MetricChoice:
    """The metric for a table. `positive`: the class of f1. `reason`: a phrase for the recipe's comment."""

    metric: Metric
    positive: str | None = None
    reason: str


def choose_metric(task: Task) -> MetricChoice:
    """The metric that suits the classes of the train rows.

    Two classes: f1 of the rarer one if it has at most 20 % of the rows. More classes: macro_f1 if the most frequent
    class has more than twice the mean number of rows, or the rarest less than a fifth of it. Otherwise accuracy.
    """
    if not task_type(task.type).has_classes:
        return MetricChoice(metric="pearson_spearman", reason="the labels are numbers; the mean of both correlations")
    counts = np.bincount(task.train.labels, minlength=len(task.labels))
    rarest, most = int(counts.argmin()), int(counts.argmax())
    shares = counts / counts.sum()
    names = [brief(name) for name in task.labels]
    if len(counts) == 2:
        if shares[rarest] > RARE_SHARE:
            return MetricChoice(
                metric="accuracy", reason=f"no class is rare: {percent(shares[rarest])} {names[rarest]}"
            )
        reason = f"{names[rarest]} is rare ({percent(shares[rarest])}), so always predicting {names[most]} is accurate"
        return MetricChoice(metric="f1", positive=task.labels[rarest], reason=reason)
    relative = counts / counts.mean()
    if relative[most] > FREQUENT:
        frequent = f"{names[most]} has {percent(shares[most])} of the rows"
        return MetricChoice(metric="macro_f1", reason=f"counts all classes equally, because {frequent}")
    if relative[rarest] < RARE:
        rare = f"{names[rarest]} has only {percent(shares[rarest])} of the rows"
        return MetricChoice(metric="macro_f1", reason=f"counts all classes equally, because {rare}")
    return MetricChoice(metric="accuracy", reason="the classes are about equally frequent")


def about_classes(task: Task) -> list[str]:
    """The classes with their shares of the train rows, and then a line for the classes with few rows."""
    counts = np.bincount(task.train.labels, minlength=len(task.labels))
    order = np.argsort(-counts, kind="stable")
    shares = [f"{brief(task.labels[index])} {percent(counts[index] / counts.sum())}" for index in order]
    listed = ", ".join(shares[:CLASSES_LISTED]) + (", ..." if len(shares) > CLASSES_LISTED else "")
    dev_counts = np.bincount(task.dev.labels, minlength=len(task.labels))
    return [
        f"{len(counts)} classes ({listed})",
        *_about_rare(task.labels, counts, FEW_TRAIN_ROWS, "train"),
        *_about_rare(task.labels, dev_counts, FEW_DEV_ROWS, "dev"),
    ]


def brief(name: str) -> str:
    """A class name for a message or a comment: on one line, and not long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(name.split()))
    return line if len(line) <= MAX_NAME else f"{line[: MAX_NAME - 3]}..."


def percent(share: float) -> str:
    """A share as a percentage with two digits, such as 13 % or 0.4 %."""
    number = 100 * share
    if 0 < number < 0.1:
        return "under 0.1 %"
    return f"{number:.0f} %" if number >= 10 or number == 0 else f"{number:.1f} %"


def _about_rare(labels: Sequence[str], counts: np.ndarray, few: int, split: str) -> list[str]:
    """A line that names the classes with fewer than `few` rows, the rarest first; none if there are no such classes."""
    rare = [labels[index] for index in np.argsort(counts, kind="stable") if counts[index] < few]
    if not rare:
        return []
    names = ", ".join(map(brief, rare[:CLASSES_LISTED])) + (", ..." if len(rare) > CLASSES_LISTED else "")
    verb = "has" if len(rare) == 1 else "have"
    return [f"caution: {len(rare)} of {len(labels)} classes {verb} fewer than {few} {split} rows: {names}"]
