"""How nearly an exported variant answers like the torch model it came from, on the task's own rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from export.runtime import Classifier, probabilities

INVARIANT_PROBABILITY = 1e-5


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a variant may be from torch and still ship.

    `logit_error`: mean absolute logit error in units of the logits' spread. `label_flips`: share of rows whose label
    changes. `metric_drop`: metric of torch less that of the variant.
    """

    logit_error: float
    label_flips: float
    metric_drop: float


DEFAULT_TOLERANCES = {
    # a correlation moves with the last bit of each value; with no label flipped, a metric of classes can't drop at all
    "fp32": Tolerance(logit_error=1e-4, label_flips=0.0, metric_drop=1e-3),
    "int8-dynamic": Tolerance(logit_error=0.15, label_flips=0.03, metric_drop=0.01),
    "int8-static": Tolerance(logit_error=0.15, label_flips=0.03, metric_drop=0.01),
}


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A variant beside torch on `num_rows` rows. `logit_error` as in Tolerance; `max_logit_error` in logits.

    `batch_shift`: the largest change of a probability when a text is run in a padded batch instead of alone.
    """

    num_rows: int
    max_logit_error: float
    logit_error: float
    num_label_flips: int
    metric: float
    torch_metric: float
    batch_shift: float

    @property
    def batch_invariant(self) -> bool:
        """Whether a text's answer is the same alone and in a batch."""
        return self.batch_shift <= INVARIANT_PROBABILITY

    def failures(self, tolerance: Tolerance) -> list[str]:
        """What is over the tolerance, each in words; empty when the variant may ship."""
        found = {
            "logit_error": self.logit_error,
            "label_flips": self.num_label_flips / self.num_rows,
            "metric_drop": self.torch_metric - self.metric,
        }
        return [
            f"{name} {found[name]:.4g} over the tolerance {limit:.4g}"
            for name, limit in asdict(tolerance).items()
            if not found[name] <= limit  # NaN is over every limit
        ]


def compare(
    variant: np.ndarray, torch_logits: np.ndarray, *, metric: float, torch_metric: float, batch_shift: float
) -> Parity:
    """Parity of two models' logits on the same rows, each (rows, classes)."""
    error = np.abs(variant - torch_logits)
    return Parity(
        num_rows=len(variant),
        max_logit_error=float(error.max()),
        logit_error=float(error.mean() / torch_logits.std()),
        num_label_flips=int((variant.argmax(axis=1) != torch_logits.argmax(axis=1)).sum()),
        metric=metric,
        torch_metric=torch_metric,
        batch_shift=batch_shift,
    )


def measure_batch_shift(
    classifier: Classifier,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    num_rows: int = 64,
    batch_size: int = 16,
) -> float:
    """Largest change of a probability (or value) between running texts alone and in mixed, padded batches."""
    encodings = classifier.encode(texts[:num_rows], pairs and pairs[:num_rows])
    alone = probabilities(np.concatenate([classifier.run([encoding]) for encoding in encodings]))
    batches = range(0, len(encodings), batch_size)
    together = probabilities(
        np.concatenate([classifier.run(encodings[start : start + batch_size]) for start in batches])
    )
    return float(np.abs(alone - together).max())
