"""Compares a bundle with the torch model that it was exported from, on the task's own rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from compress.data.columns import Split
from compress.data.metrics import Metric, Positive
from compress.data.task_types import TaskType
from export.bundle import runtime
from export.bundle.runtime import Classifier
from export.parity import session_report
from export.parity.probes import Probes, compare_probes
from export.parity.significance import paired_difference
from export.quantisation.variants import Variant
from export.results import INVARIANT_PROBABILITY, BatchInvariance, Example, Parity, SessionReport

INVARIANCE_ROWS = 256  # rows on which batch invariance is measured
SHOWN_CHARACTERS = 60  # of a probe text in a message
EXTRA_PADDING = 32  # padding tokens added to a text to measure their effect


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a variant may deviate from torch and still count as a correct export.

    `logit_error`: mean absolute logit error, divided by the standard deviation of the logits. `label_flips`: share of
    rows whose label changes. The gate decides separately whether the variant is good enough.
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
    """The tolerance of the variant's lowest precision."""
    tolerances = [_BY_PRECISION[variant.weights.partition("-")[0]]]
    if variant.weights != "fp16":
        tolerances.append(_BY_PRECISION[variant.embedding])
    return max(tolerances, key=lambda tolerance: tolerance.logit_error)


def tolerance_failures(parity: Parity, tolerance: Tolerance) -> list[str]:
    """The reasons why a model does not count as a correct export; empty if it does."""
    errors = {"logit_error": parity.logit_error, "label_flips": parity.num_label_flips / parity.num_rows}
    reasons = [
        f"{name} {errors[name]:.4g} over the tolerance {limit:.4g}"
        for name, limit in asdict(tolerance).items()
        if not errors[name] <= limit  # NaN exceeds every limit
    ]
    if parity.session.provider != parity.requested_provider:
        reasons.append(f"{parity.requested_provider} was requested, {parity.session.provider} ran")
    return [*reasons, *probe_failures(parity, tolerance)]


def probe_failures(parity: Parity, tolerance: Tolerance) -> list[str]:
    """The reasons from the comparison on probe texts alone."""
    probes = parity.probes
    if probes is None:
        return []
    example = f"such as {_shortened(probes.text)}{'' if probes.pair is None else ' with ' + _shortened(probes.pair)}"
    if probes.num_token_changes:  # the logits then differ as well
        num_texts = probes.num_probes + probes.num_rows
        return [f"{probes.num_token_changes} of {num_texts} texts have other tokens than in torch, {example}"]
    if probes.logit_error is None or probes.logit_error <= tolerance.logit_error:  # False for NaN
        return []
    return [
        f"logit_error {probes.logit_error:.4g} on probe texts over the tolerance {tolerance.logit_error:.4g}, {example}"
    ]


def _shortened(text: str) -> str:
    return ascii(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")


def compare_with_torch(
    bundle: Path,
    reference: np.ndarray,
    rows: Split,
    metric: Metric,
    labels: Sequence[str],
    *,
    task_type: TaskType,
    positive: Positive | None = None,
    provider: str = "CPUExecutionProvider",
    probes: Probes | None = None,
    compares_probe_logits: bool = False,
) -> Parity:
    """Run a bundle on `rows` and compare its logits with torch's.

    `reference`: torch's logits, (rows, classes). `labels`: the names of torch's outputs, in order. `positive`: as in
    `TaskType.score`. Outputs are matched
    by name, so the bundle may have them in a different order. `probes`: texts whose tokens are compared as well.
    `compares_probe_logits`: their logits too, for a bundle in fp32.
    """
    classifier = Classifier(bundle, providers=[provider], golden_check=False)
    batch_invariance = measure_batch_invariance(classifier, rows, task_type)
    classifier.batch_invariant = batch_invariance.is_invariant
    logits = classifier.unchecked_logits(rows.texts, rows.pairs)
    if set(classifier.labels) == set(labels):
        logits = logits[:, [classifier.labels.index(name) for name in labels]]
    parity = parity_of_logits(
        logits,
        reference,
        rows,
        metric,
        task_type=task_type,
        positive=positive,
        batch_invariance=batch_invariance,
        requested_provider=provider,
        session=session_report.report_session(
            bundle / "onnx" / "model.onnx",
            classifier.model_inputs(classifier.encode(rows.texts[:1], rows.pairs and rows.pairs[:1])),
            runtime.with_provider_options([provider]),
            runtime.session_config(saturates=classifier.saturates),
        ),
    )
    if probes is None:
        return parity
    return replace(parity, probes=compare_probes(classifier, probes, compares_logits=compares_probe_logits))


def parity_of_logits(
    logits: np.ndarray,
    reference: np.ndarray,
    rows: Split,
    metric: Metric,
    *,
    task_type: TaskType,
    positive: Positive | None = None,
    batch_invariance: BatchInvariance,
    requested_provider: str,
    session: SessionReport,
) -> Parity:
    """Parity of two models from their logits on the same rows, (rows, classes) each."""
    error = np.abs(logits - reference)
    predictions, torch_predictions = task_type.decide(logits), task_type.decide(reference)
    num_labels = logits.shape[1]
    score, torch_score = (
        task_type.score(metric, rows.labels, each, num_labels, positive=positive)
        for each in (predictions, torch_predictions)
    )
    flipped = np.flatnonzero(task_type.changed(logits, reference))
    example_row = int(flipped[0]) if len(flipped) else int(error.max(axis=1).argmax())
    return Parity(
        num_rows=len(logits),
        max_logit_error=float(error.max()),
        mean_logit_error=float(error.mean()),
        logit_error=float(error.mean() / (reference.std() or 1.0)),
        num_label_flips=len(flipped),
        score=score,
        torch_score=torch_score,
        difference=paired_difference(
            metric,
            rows.labels,
            predictions,
            torch_predictions,
            task_type=task_type,
            num_labels=num_labels,
            positive=positive,
        ),
        example=_example(rows, example_row, task_type.answers(reference), task_type.answers(logits)),
        batch_invariance=batch_invariance,
        requested_provider=requested_provider,
        session=session,
    )


def measure_batch_invariance(
    classifier: Classifier, rows: Split, task_type: TaskType, *, num_rows: int = INVARIANCE_ROWS, batch_size: int = 16
) -> BatchInvariance:
    """Compare unbatched texts with the same texts in mixed batches, and with the same texts padded."""
    texts, pairs = rows.texts[:num_rows], rows.pairs and rows.pairs[:num_rows]
    encodings = classifier.encode(texts, pairs)
    unbatched = task_type.answers(np.concatenate([classifier.run([encoding]) for encoding in encodings]))
    batches = [encodings[start : start + batch_size] for start in range(0, len(encodings), batch_size)]
    batched = task_type.answers(np.concatenate([classifier.run(batch) for batch in batches]))
    lengths = [min(len(encoding) + EXTRA_PADDING, classifier.max_length) for encoding in encodings]
    padded = task_type.answers(
        np.concatenate(
            [classifier.run([encoding], length=length) for encoding, length in zip(encodings, lengths, strict=True)]
        )
    )
    unit = task_type.unit(unbatched)
    batch_shift, padding_shift = np.abs(batched - unbatched) / unit, np.abs(padded - unbatched) / unit
    shift_of_row = np.maximum(batch_shift, padding_shift).max(axis=1)
    label_changed = task_type.changed(batched, unbatched) | task_type.changed(padded, unbatched)
    example_row = int(shift_of_row.argmax())
    is_shifted = not shift_of_row[example_row] <= INVARIANT_PROBABILITY  # also for NaN
    return BatchInvariance(
        num_rows=len(encodings),
        batch_shift=float(batch_shift.max()),
        padding_shift=float(padding_shift.max()),
        num_label_changes=int(label_changed.sum()),
        example=_example(rows, example_row, unbatched, batched) if is_shifted else None,
    )


def _example(rows: Split, row: int, expected: np.ndarray, actual: np.ndarray) -> Example:
    return Example(
        text=rows.texts[row],
        pair=None if rows.pairs is None else rows.pairs[row],
        expected=[round(float(value), 5) for value in expected[row]],
        actual=[round(float(value), 5) for value in actual[row]],
    )
