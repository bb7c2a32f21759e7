"""Whether a variant is good enough to ship, and which of those that are is recommended."""

from collections.abc import Mapping
from dataclasses import dataclass

AS_FAST_WITHIN = 0.03  # a difference in latency that is called none


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits; None: not asked for.

    `student_share`, `teacher_share`: of the metric of the fp32 student in torch, and of the teacher, on dev.
    `batch_shift`: largest change of a probability in company. `size_mb`: of the whole bundle, in decimal megabytes.
    `latency_ms`: median from text to label at batch 1.
    """

    student_share: float | None = 0.99
    teacher_share: float | None = None
    batch_shift: float | None = None
    size_mb: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the gate looks at. `latency_ms` is None where nothing was timed."""

    metric: float
    student_metric: float
    teacher_metric: float | None
    batch_shift: float
    size_bytes: int
    latency_ms: float | None


def failures(gate: Gate, found: Measured) -> list[str]:
    """Every limit that a variant is over, in words with both figures."""
    told = []
    for share, whole, who in (
        (gate.student_share, found.student_metric, "its fp32 student"),
        (gate.teacher_share, found.teacher_metric, "the teacher"),
    ):
        # a metric at or under 0 is no measure of what is kept
        if share is None or whole is None or whole <= 0:
            continue
        if not found.metric >= share * whole:
            told.append(f"keeps {found.metric / whole:.2%} of {who}'s {whole:.4f}, less than {share:.2%}")
    over = (
        (found.batch_shift, gate.batch_shift, "a probability moves by {:.2g} in company, more than {:.2g}"),
        (found.size_bytes / 1e6, gate.size_mb, "{:.2f} MB, more than {:g}"),
        (found.latency_ms, gate.latency_ms, "{:.3f} ms from text to label, more than {:g}"),
    )
    for value, limit, words in over:
        if limit is not None and value is not None and not value <= limit:
            told.append(words.format(value, limit))
    if gate.latency_ms is not None and found.latency_ms is None:
        told.append(f"not timed, and may take {gate.latency_ms:g} ms at most")
    return told


def recommended(passed: Mapping[str, Measured]) -> str | None:
    """The fastest variant that passed, the smallest of those that are as fast; None where none passed or was timed."""
    timed = {name: found.latency_ms for name, found in passed.items() if found.latency_ms is not None}
    if not timed:
        return None
    fastest = min(timed.values())
    as_fast = [name for name, latency in timed.items() if latency <= fastest * (1 + AS_FAST_WITHIN)]
    return min(as_fast, key=lambda name: passed[name].size_bytes)
