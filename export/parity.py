"""How nearly a bundle answers like the torch model it came from, on the task's own rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress import metrics
from compress.cells import Split
from export import runtime, session
from export.paired import Paired, paired_difference
from export.runtime import Classifier, probabilities
from export.variants import Variant

INVARIANT_PROBABILITY = 1e-5
COMPANY_ROWS = 256
LONGER_BY = 32  # padding that a text is given to see whether it matters


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a variant may be from torch and still be called an export of it.

    `logit_error`: mean absolute logit error in units of the logits' spread. `label_flips`: share of rows whose label
    changes. (Whether it is good enough is the gate's question.)
    """

    logit_error: float
    label_flips: float


_BY_PRECISION = {
    "fp32": Tolerance(logit_error=1e-4, label_flips=0.0),
    "fp16": Tolerance(logit_error=0.01, label_flips=0.005),
    "int8": Tolerance(logit_error=0.15, label_flips=0.03),
    "int4": Tolerance(logit_error=0.30, label_flips=0.06),
}


def default_tolerance(variant: Variant) -> Tolerance:
    """That of the coarsest of its parts."""
    parts = [_BY_PRECISION[variant.weights.partition("-")[0]]]
    if variant.weights != "fp16":
        parts.append(_BY_PRECISION[variant.embedding])
    return max(parts, key=lambda part: part.logit_error)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text that shows a difference: what is expected for it, what the model gave (probabilities, or the value)."""

    text: str
    pair: str | None
    expected: list[float]
    found: list[float]


@dataclass(frozen=True, kw_only=True)
class Company:
    """What becomes of a text's answer in company: the largest change of a probability in a mixed batch, and with
    padding alone (of a regression: of its value, over the spread of the values); how many labels change; the text that
    changes most, alone and then in company.
    """

    num_rows: int
    batch_shift: float
    padding_shift: float
    num_label_changes: int
    example: Example | None

    @property
    def is_invariant(self) -> bool:
        """Whether a text's answer is the same alone, in a batch and padded: the label, and the probability to 1e-5."""
        shifts = (self.batch_shift, self.padding_shift)
        return not self.num_label_changes and all(shift <= INVARIANT_PROBABILITY for shift in shifts)  # NaN is not


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A model beside torch on `num_rows` rows; errors in logits, `logit_error` as in Tolerance.

    `example`: the first row whose label is another; where none is, the row that is furthest off. `asked_for`: the
    execution provider that was asked for; `ran`: what ran.
    """

    num_rows: int
    max_logit_error: float
    mean_logit_error: float
    logit_error: float
    num_label_flips: int
    metric: float
    torch_metric: float
    paired: Paired
    example: Example
    company: Company
    asked_for: str
    ran: session.Ran

    def failures(self, tolerance: Tolerance) -> list[str]:
        """What forbids to ship it as an export of the model, each in words; empty where nothing does."""
        found = {"logit_error": self.logit_error, "label_flips": self.num_label_flips / self.num_rows}
        over = [
            f"{name} {found[name]:.4g} over the tolerance {limit:.4g}"
            for name, limit in asdict(tolerance).items()
            if not found[name] <= limit  # NaN is over every limit
        ]
        if self.ran.provider != self.asked_for:
            over.append(f"{self.asked_for} was asked for, {self.ran.provider} ran")
        return over


def hold_against_torch(
    bundle: Path,
    reference: np.ndarray,
    rows: Split,
    metric: metrics.Metric,
    labels: Sequence[str],
    *,
    provider: str = "CPUExecutionProvider",
) -> Parity:
    """Run a bundle on rows whose torch logits are `reference`, (rows, classes).

    `labels`: the names of torch's outputs, in order. Where the bundle has them in another, logits are compared by name.
    """
    classifier = Classifier(bundle, providers=[provider])
    company = in_company(classifier, rows)
    classifier.batch_invariant = company.is_invariant
    logits = classifier.logits(rows.texts, rows.pairs)
    if set(classifier.labels) == set(labels):
        logits = logits[:, [classifier.labels.index(name) for name in labels]]
    return compare(
        logits,
        reference,
        rows,
        metric,
        company=company,
        asked_for=provider,
        ran=session.examine(
            bundle / "onnx" / "model.onnx",
            classifier.columns(classifier.encode(rows.texts[:1], rows.pairs and rows.pairs[:1])),
            runtime.with_options([provider]),
            runtime.session_config(saturates=classifier.saturates),
        ),
    )


def compare(
    logits: np.ndarray,
    reference: np.ndarray,
    rows: Split,
    metric: metrics.Metric,
    *,
    company: Company,
    asked_for: str,
    ran: session.Ran,
) -> Parity:
    """Parity of two models' logits on the same rows, each (rows, classes)."""
    error = np.abs(logits - reference)
    ours, theirs = metrics.decide(logits), metrics.decide(reference)
    num_classes = logits.shape[1]
    flipped = np.flatnonzero(logits.argmax(axis=1) != reference.argmax(axis=1))
    num_flips = len(flipped) if num_classes > 1 else 0
    shown = int(flipped[0]) if num_flips else int(error.max(axis=1).argmax())
    return Parity(
        num_rows=len(logits),
        max_logit_error=float(error.max()),
        mean_logit_error=float(error.mean()),
        logit_error=float(error.mean() / (reference.std() or 1.0)),
        num_label_flips=num_flips,
        metric=metrics.score(metric, rows.labels, ours, num_classes=num_classes),
        torch_metric=metrics.score(metric, rows.labels, theirs, num_classes=num_classes),
        paired=paired_difference(metric, rows.labels, ours, theirs, num_classes=num_classes),
        example=_example(rows, shown, probabilities(reference), probabilities(logits)),
        company=company,
        asked_for=asked_for,
        ran=ran,
    )


def in_company(classifier: Classifier, rows: Split, *, num_rows: int = COMPANY_ROWS, batch_size: int = 16) -> Company:
    """Run texts alone, in mixed batches as they come, and alone with padding."""
    texts, pairs = rows.texts[:num_rows], rows.pairs and rows.pairs[:num_rows]
    encodings = classifier.encode(texts, pairs)
    alone = probabilities(np.concatenate([classifier.run([encoding]) for encoding in encodings]))
    batches = [encodings[start : start + batch_size] for start in range(0, len(encodings), batch_size)]
    together = probabilities(np.concatenate([classifier.run(batch) for batch in batches]))
    longer = [min(len(encoding) + LONGER_BY, classifier.max_length) for encoding in encodings]
    padded = probabilities(
        np.concatenate(
            [classifier.run([encoding], length=length) for encoding, length in zip(encodings, longer, strict=True)]
        )
    )
    unit = (alone.std() or 1.0) if alone.shape[1] == 1 else 1.0
    in_batch, in_padding = np.abs(together - alone) / unit, np.abs(padded - alone) / unit
    shift = np.maximum(in_batch, in_padding).max(axis=1)
    changed = (together.argmax(axis=1) != alone.argmax(axis=1)) | (padded.argmax(axis=1) != alone.argmax(axis=1))
    most = int(shift.argmax())
    return Company(
        num_rows=len(encodings),
        batch_shift=float(in_batch.max()),
        padding_shift=float(in_padding.max()),
        num_label_changes=int(changed.sum()),
        example=None if shift[most] <= INVARIANT_PROBABILITY else _example(rows, most, alone, together),
    )


def _example(rows: Split, row: int, expected: np.ndarray, found: np.ndarray) -> Example:
    return Example(
        text=rows.texts[row],
        pair=None if rows.pairs is None else rows.pairs[row],
        expected=[round(float(value), 5) for value in expected[row]],
        found=[round(float(value), 5) for value in found[row]],
    )


def as_plain(found: Parity) -> dict[str, Any]:
    """Plain values, for results.json and bundle.json."""
    return {**asdict(found), "batch_invariant": found.company.is_invariant}
