"""Whether a training stage ended too early, from its logged losses and its dev scores."""

import math

import numpy as np

from compress.results import TrainingResult

MIN_ENTRIES = 12  # logged losses, so that each quarter has three
SMALLEST_DROP = 0.05  # of the loss, between the third and the last quarter of the steps
STANDARD_ERRORS = 2.0
SMALLEST_GAIN = 0.003  # of a dev score, however many rows there are


def loss_drop(training: TrainingResult) -> float | None:
    """By which share the loss fell from the third to the last quarter of the log; None if that may be noise.

    The learning rate decays over the last half of a stage. A loss that still falls then would fall further with more
    steps.
    """
    losses = np.array([entry.loss for entry in training.history])
    if len(losses) < MIN_ENTRIES or not np.isfinite(losses).all():
        return None
    start, end = len(losses) // 2, len(losses) * 3 // 4
    third, last = losses[start:end], losses[end:]
    if not third.mean() > 0:
        return None
    drop = third.mean() - last.mean()
    error = math.hypot(third.std(ddof=1) / math.sqrt(len(third)), last.std(ddof=1) / math.sqrt(len(last)))
    share = float(drop / third.mean())
    return share if drop > STANDARD_ERRORS * error and share > SMALLEST_DROP else None


def last_gain(training: TrainingResult, num_rows: int) -> float | None:
    """By how much the last epoch beat all earlier ones on `num_rows` dev rows; None if that may be noise."""
    scores = training.dev_scores
    if len(scores) < 2 or training.best_epoch == 0 or not all(map(math.isfinite, scores)):
        return None
    gain = scores[-1] - max(scores[:-1])
    return gain if gain > max(SMALLEST_GAIN, 0.5 / math.sqrt(max(1, num_rows))) else None


def num_epochs(training: TrainingResult) -> int:
    """The epochs that were trained, rounded up."""
    logged = math.ceil(training.history[-1].epoch) if training.history else 0
    return max(1, logged, len(training.dev_scores))


def peak_rate(training: TrainingResult) -> float | None:
    """The largest logged learning rate, with two digits; None if nothing was logged."""
    rates = [entry.learning_rate for entry in training.history if entry.learning_rate > 0]
    return float(f"{max(rates):.1e}") if rates else None
