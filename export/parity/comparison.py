"""How nearly a bundle answers like the torch model it came from, on the task's own rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compress.data.columns import Split
from compress.data.metrics import Metric
from compress.data.task_types import TaskType
from export.bundle import runtime
from export.bundle.runtime import Classifier
from export.parity import session_report
from export.parity.significance import paired_difference
from export.quantisation.variants import Variant
from export.results import INVARIANT_PROBABILITY, BatchInvariance, Example, Parity, SessionReport

BATCH_ROWS = 256  # on which batch invariance is measured
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


def tolerance_failures(parity: Parity, tolerance: Tolerance) -> list[str]:
    """What forbids shipping the model as an export of torch's, each reason in words; empty where nothing does."""
    errors = {"logit_error": parity.logit_error, "label_flips": parity.num_label_flips / parity.num_rows}
    reasons = [
        f"{name} {errors[name]:.4g} over the tolerance {limit:.4g}"
        for name, limit in asdict(tolerance).items()
        if not errors[name] <= limit  # NaN is over every limit
    ]
    if parity.session.provider != parity.requested_provider:
        reasons.append(f"{parity.requested_provider} was asked for, {parity.session.provider} ran")
    return reasons


def compare_with_torch(
    bundle: Path,
    reference: np.ndarray,
    rows: Split,
    metric: Metric,
    labels: Sequence[str],
    *,
    kind: TaskType,
    provider: str = "CPUExecutionProvider",
) -> Parity:
    """Run a bundle on rows whose torch logits are `reference`, (rows, classes).

    `labels`: the names of torch's outputs, in order. Where the bundle has them in another, logits are compared by name.
    """
    classifier = Classifier(bundle, providers=[provider])
    batch_invariance = measure_batch_invariance(classifier, rows, kind)
    classifier.batch_invariant = batch_invariance.is_invariant
    logits = classifier.logits(rows.texts, rows.pairs)
    if set(classifier.labels) == set(labels):
        logits = logits[:, [classifier.labels.index(name) for name in labels]]
    return parity_of_logits(
        logits,
        reference,
        rows,
        metric,
        kind=kind,
        batch_invariance=batch_invariance,
        requested_provider=provider,
        session=session_report.report_session(
            bundle / "onnx" / "model.onnx",
            classifier.columns(classifier.encode(rows.texts[:1], rows.pairs and rows.pairs[:1])),
            runtime.with_options([provider]),
            runtime.session_config(saturates=classifier.saturates),
        ),
    )


def parity_of_logits(
    logits: np.ndarray,
    reference: np.ndarray,
    rows: Split,
    metric: Metric,
    *,
    kind: TaskType,
    batch_invariance: BatchInvariance,
    requested_provider: str,
    session: SessionReport,
) -> Parity:
    """Parity of two models' logits on the same rows, each (rows, classes)."""
    error = np.abs(logits - reference)
    ours, theirs = kind.decide(logits), kind.decide(reference)
    num_labels = logits.shape[1]
    changed = np.flatnonzero(kind.changed(logits, reference))
    example_row = int(changed[0]) if len(changed) else int(error.max(axis=1).argmax())
    return Parity(
        num_rows=len(logits),
        max_logit_error=float(error.max()),
        mean_logit_error=float(error.mean()),
        logit_error=float(error.mean() / (reference.std() or 1.0)),
        num_label_flips=len(changed),
        score=kind.score(metric, rows.labels, ours, num_labels),
        torch_score=kind.score(metric, rows.labels, theirs, num_labels),
        difference=paired_difference(metric, rows.labels, ours, theirs, kind=kind, num_labels=num_labels),
        example=_example(rows, example_row, kind.answers(reference), kind.answers(logits)),
        batch_invariance=batch_invariance,
        requested_provider=requested_provider,
        session=session,
    )


def measure_batch_invariance(
    classifier: Classifier, rows: Split, kind: TaskType, *, num_rows: int = BATCH_ROWS, batch_size: int = 16
) -> BatchInvariance:
    """Run texts alone, in mixed batches as they come, and alone with padding."""
    texts, pairs = rows.texts[:num_rows], rows.pairs and rows.pairs[:num_rows]
    encodings = classifier.encode(texts, pairs)
    alone = kind.answers(np.concatenate([classifier.run([encoding]) for encoding in encodings]))
    batches = [encodings[start : start + batch_size] for start in range(0, len(encodings), batch_size)]
    together = kind.answers(np.concatenate([classifier.run(batch) for batch in batches]))
    longer = [min(len(encoding) + LONGER_BY, classifier.max_length) for encoding in encodings]
    padded = kind.answers(
        np.concatenate(
            [classifier.run([encoding], length=length) for encoding, length in zip(encodings, longer, strict=True)]
        )
    )
    unit = kind.unit(alone)
    in_batch, in_padding = np.abs(together - alone) / unit, np.abs(padded - alone) / unit
    shift = np.maximum(in_batch, in_padding).max(axis=1)
    changed = kind.changed(together, alone) | kind.changed(padded, alone)
    most = int(shift.argmax())
    return BatchInvariance(
        num_rows=len(encodings),
        batch_shift=float(in_batch.max()),
        padding_shift=float(in_padding.max()),
        num_label_changes=int(changed.sum()),
        example=None if shift[most] <= INVARIANT_PROBABILITY else _example(rows, most, alone, together),
    )


def _example(rows: Split, row: int, expected: np.ndarray, actual: np.ndarray) -> Example:
    return Example(
        text=rows.texts[row],
        pair=None if rows.pairs is None else rows.pairs[row],
        expected=[round(float(value), 5) for value in expected[row]],
        actual=[round(float(value), 5) for value in actual[row]],
    )
