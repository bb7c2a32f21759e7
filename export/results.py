"""The records of an export: parity with torch, and what became of each variant; loads no runtime."""

from dataclasses import dataclass, field

from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName

INVARIANT_PROBABILITY = 1e-5


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text that shows a difference: the answer expected for it and the actual one (probabilities, or the value)."""

    text: str
    pair: str | None
    expected: list[float]
    actual: list[float]


@dataclass(frozen=True, kw_only=True)
class BatchInvariance:
    """How far a text's answer depends on its batch: the largest change of a probability in a mixed batch, and with
    padding alone (of a value: over the spread of the values); how many labels change; the text that changes most.
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
class MetricDifference:
    """The model's metric less torch's on the same rows, with its 95 % interval (bootstrap over rows).

    `p_value`: exact McNemar test that both are right equally often; None for metrics other than accuracy.
    """

    value: float
    low: float
    high: float
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class SessionReport:
    """A session as it ran, after the runtime's own optimisations.

    `provider`: the first that it uses; `nodes`: how many nodes each provider ran. `low_precision`: share of the
    weights' multiplications whose weights are in 16 bits or fewer. `fused`: how many of each fused operator.
    """

    provider: str
    nodes: dict[str, int]
    low_precision: float
    fused: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A model compared with torch on `num_rows` rows.

    Errors are in logits; `logit_error` is the mean over the spread of torch's logits. `score`, `torch_score`: the
    task's metric. `example`: the first row whose label differs; where none does, the row that is furthest off.
    `requested_provider`: the execution provider asked for; `session`: what ran.
    """

    num_rows: int
    max_logit_error: float
    mean_logit_error: float
    logit_error: float
    num_label_flips: int
    score: float
    torch_score: float
    difference: MetricDifference
    example: Example
    batch_invariance: BatchInvariance
    requested_provider: str
    session: SessionReport


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """What an x86-64 processor without VNNI would make of a static variant, emulated on `num_rows` rows.

    0 rows: no product of its weights can saturate.
    """

    num_rows: int
    max_logit_shift: float
    num_label_changes: int


@dataclass(frozen=True, kw_only=True)
class VariantScores:
    """A variant's metric on dev, and on test where there is one."""

    dev: float
    test: float | None = None


@dataclass(frozen=True, kw_only=True)
class VariantResult:
    """One exported variant.

    `parity`: on the CPU; `other_providers`: on further ones, by name. `without_vnni`: of static variants. `failures`:
    why it does not ship, in words; empty where it does. `latency_ms`: the median from text to label, once it is timed.
    `bundle`: where the command `export` wrote it.
    """

    parity: Parity
    other_providers: dict[str, Parity] = field(default_factory=dict)
    without_vnni: Saturation | None = None
    failures: list[str] = field(default_factory=list)
    scores: VariantScores | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    bundle: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSteps:
    """Parity on the way from torch to the variants: the graph as exported, and after fusion."""

    exported: Parity
    fused: Parity


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The export stage, or the command `export`.

    `fused_nodes`: fused operators in the graph. `teacher_variants`: the teacher's own bundles, for the benchmark alone;
    `teacher_not_exported`: why there are none. `recommended`: the variant to take, once they are timed.
    """

    metric: Metric
    task_type: TaskTypeName
    variants: dict[str, VariantResult]
    fused_nodes: dict[str, int] = field(default_factory=dict)
    steps: ExportSteps | None = None
    teacher_variants: list[str] = field(default_factory=list)
    teacher_not_exported: str | None = None
    recommended: str | None = None
