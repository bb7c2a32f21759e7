"""Whether a variant is good enough to ship, and which of those that are is recommended."""

from collections.abc import Mapping
from dataclasses import dataclass

AS_FAST_WITHIN = 0.03  # a difference in latency that is called none


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits; None: not asked for.

    `student_share`, `teacher_share`: of the metric of the fp32 student in torch, and of the teacher, on dev.
    `batch_shift`: largest change of a probability in a batch. `size_mb`: of the whole bundle, in decimal megabytes.
    `latency_ms`: median from text to label at batch 1.
    """

    student_share: float | None = 0.99
    teacher_share: float | None = None
    batch_shift: float | None = None
    size_mb: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateInputs:
    """The figures that the gate compares with its limits. `score`: the task's metric on dev, the worst of a variant's
    providers; `student_score`: of the fp32 student in torch. `latency_ms` is None where nothing was timed.
    """

    score: float
    student_score: float
    teacher_score: float | None
    batch_shift: float
    size_bytes: int
    latency_ms: float | None


def gate_failures(gate: Gate, inputs: GateInputs) -> list[str]:
    """Every limit that a variant is over, in words with both figures."""
    reasons = []
    for share, whole, who in (
        (gate.student_share, inputs.student_score, "its fp32 student"),
        (gate.teacher_share, inputs.teacher_score, "the teacher"),
    ):
        # a metric at or under 0 is no measure of what is kept
        if share is None or whole is None or whole <= 0:
            continue
        if not inputs.score >= share * whole:
            reasons.append(f"keeps {inputs.score / whole:.2%} of {who}'s {whole:.4f}, less than {share:.2%}")
    over = (
        (inputs.batch_shift, gate.batch_shift, "a probability moves by {:.2g} in company, more than {:.2g}"),
        (inputs.size_bytes / 1e6, gate.size_mb, "{:.2f} MB, more than {:g}"),
        (inputs.latency_ms, gate.latency_ms, "{:.3f} ms from text to label, more than {:g}"),
    )
    for value, limit, words in over:
        if limit is not None and value is not None and not value <= limit:
            reasons.append(words.format(value, limit))
    if gate.latency_ms is not None and inputs.latency_ms is None:
        reasons.append(f"not timed, and may take {gate.latency_ms:g} ms at most")
    return reasons


def recommended(passed: Mapping[str, GateInputs]) -> str | None:
    """The fastest variant that passed, the smallest of those that are as fast; None where none passed or was timed."""
    timed = {name: inputs.latency_ms for name, inputs in passed.items() if inputs.latency_ms is not None}
    if not timed:
        return None
    fastest = min(timed.values())
    as_fast = [name for name, latency in timed.items() if latency <= fastest * (1 + AS_FAST_WITHIN)]
    return min(as_fast, key=lambda name: passed[name].size_bytes)
