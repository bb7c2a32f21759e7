"""The quality gate: which variants are good enough to ship, and which one is recommended."""

from collections.abc import Mapping
from dataclasses import dataclass

LATENCY_TOLERANCE = 0.03  # a smaller relative difference in latency counts as none


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The limits. None switches a limit off.

    `student_share`, `teacher_share`: minimum share of the dev metric of the fp32 student in torch, and of the teacher.
    `teacher_over_baseline`: whether the dev metric must reach that of the TF-IDF baseline.
    `batch_shift`: largest change of a probability when batched. `size_mb`: size of the whole bundle, in decimal
    megabytes. `latency_ms`: median latency from text to label at batch size 1.
    """

    student_share: float | None = 0.99
    teacher_share: float | None = None
    teacher_over_baseline: bool = True
    batch_shift: float | None = None
    size_mb: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """The figures of a variant that the gate compares with its limits.

    `score`: the task's metric on dev, the lowest over the providers. `student_score`: the fp32 student's in torch.
    `teacher_score`, `baseline_score`: of the teacher and of the TF-IDF baseline, if there are any. `latency_ms`: None
    if the variant was not timed.
    """

    score: float
    student_score: float
    teacher_score: float | None
    batch_shift: float
    size_bytes: int
    latency_ms: float | None
    baseline_score: float | None = None


def gate_failures(gate: Gate, inputs: GateInputs) -> list[str]:
    """Every limit that a variant fails, as a sentence with the figure and the limit.

    A share of a teacher's metric of 0 or less is not defined, so every variant fails this limit. The student's share is
    then not checked.
    """
    reasons = []
    below_baseline = why_below_baseline(inputs)
    if gate.teacher_over_baseline and below_baseline is not None:
        reasons.append(below_baseline)
    if gate.teacher_share is not None and inputs.teacher_score is not None and not inputs.teacher_score > 0:
        reasons.append(
            f"a share of the teacher's {inputs.teacher_score:.4f} is not defined; gate.teacher_share: null needs none"
        )
    for min_share, reference_score, reference_name in (
        (gate.student_share, inputs.student_score, "its fp32 student"),
        (gate.teacher_share, inputs.teacher_score, "the teacher"),
    ):
        if min_share is None or reference_score is None or reference_score <= 0:
            continue
        if not inputs.score >= min_share * reference_score:
            share = inputs.score / reference_score
            reasons.append(f"keeps {share:.2%} of {reference_name}'s {reference_score:.4f}, less than {min_share:.2%}")
    upper_limits = (
        (inputs.batch_shift, gate.batch_shift, "a probability changes by {:.2g} when batched, more than {:.2g}"),
        (inputs.size_bytes / 1e6, gate.size_mb, "{:.2f} MB, more than {:g}"),
        (inputs.latency_ms, gate.latency_ms, "{:.3f} ms from text to label, more than {:g}"),
    )
    for value, limit, template in upper_limits:
        if limit is not None and value is not None and not value <= limit:
            reasons.append(template.format(value, limit))
    if gate.latency_ms is not None and inputs.latency_ms is None:
        reasons.append(f"not timed; the limit is {gate.latency_ms:g} ms")
    return reasons


def why_below_baseline(inputs: GateInputs) -> str | None:
    """The scores of a variant that is below the baseline; None if it is not, or if there is no baseline."""
    if inputs.baseline_score is None or inputs.score >= inputs.baseline_score:
        return None
    return f"scores {inputs.score:.4f}, below the TF-IDF baseline's {inputs.baseline_score:.4f}"


def recommend(passed: Mapping[str, GateInputs]) -> str | None:
    """The smallest of the fastest variants among those that passed and were timed; None if there is none.

    A variant below the baseline is never recommended, even if it may be shipped.
    """
    latencies = {
        name: inputs.latency_ms
        for name, inputs in passed.items()
        if inputs.latency_ms is not None and why_below_baseline(inputs) is None
    }
    if not latencies:
        return None
    slowest_allowed = min(latencies.values()) * (1 + LATENCY_TOLERANCE)
    fastest = [name for name, latency in latencies.items() if latency <= slowest_allowed]
    return min(fastest, key=lambda name: passed[name].size_bytes)
