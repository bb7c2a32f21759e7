"""Records of an export: parity with torch, and the result of each variant. Loads no inference runtime."""

from dataclasses import dataclass, field

from compress.data.metrics import Metric, metric_name
from compress.data.task_types import TaskTypeName

INVARIANT_PROBABILITY = 1e-5


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text with different expected and actual outputs: one probability per class, or the value of a regression."""

    text: str
    pair: str | None
    expected: list[float]
    actual: list[float]


@dataclass(frozen=True, kw_only=True)
class BatchInvariance:
    """How much the output for a text depends on its batch.

    `batch_shift`: largest change of a probability in a mixed batch. `padding_shift`: the same with padding only. For a
    regression both are changes of the value, divided by the standard deviation of the values. `num_label_changes`:
    texts whose label changes. `example`: the text with the largest change.
    """

    num_rows: int
    batch_shift: float
    padding_shift: float
    num_label_changes: int
    example: Example | None

    @property
    def is_invariant(self) -> bool:
        """Whether batching and padding change no label, and no probability by more than 1e-5."""
        shifts = (self.batch_shift, self.padding_shift)
        return not self.num_label_changes and all(shift <= INVARIANT_PROBABILITY for shift in shifts)  # False for NaN


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """The model's metric minus torch's on the same rows, with its 95 % interval (bootstrap over rows).

    `p_value`: exact McNemar test of equal accuracy; None for other metrics.
    """

    value: float
    low: float
    high: float
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class SessionReport:
    """An onnxruntime session after its own graph optimisations.

    `provider`: the provider of highest priority in use. `nodes`: number of nodes per provider. `low_precision`: share
    of the weight multiplications with weights of 16 bits or fewer. `fused`: number of nodes per fused operator.
    """

    provider: str
    nodes: dict[str, int]
    low_precision: float
    fused: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A bundle compared with the torch model and its own tokenizer on unusual texts, which are not scored.

    Tokens are compared for `num_probes` probe texts and `num_rows` rows of dev. `num_token_changes`: how many of both
    have other tokens. `logit_error`: on the probe texts, as in `Parity`; None for a variant with less than fp32, whose
    logits are compared on dev only. `text`, `pair`: the first text with other tokens, or else the one with the largest
    error.
    """

    num_probes: int
    num_rows: int
    num_token_changes: int
    logit_error: float | None
    text: str
    pair: str | None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A model compared with torch on `num_rows` rows.

    Errors are in logits. `logit_error`: mean absolute error, divided by the standard deviation of torch's logits.
    `score`, `torch_score`: the task's metric. `example`: the first row whose label differs, else the row with the
    largest error. `requested_provider`: the requested execution provider; `session` reports the actual one. `probes`:
    the comparison on unusual texts; None in results of version 0.3.0 and older.
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
    probes: ProbeResult | None = None


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """The effect of int8 saturation on x86-64 processors without VNNI, emulated for a static variant.

    `num_rows`: emulated rows; 0 if the weights are too small to saturate.
    """

    num_rows: int
    max_logit_shift: float
    num_label_changes: int


@dataclass(frozen=True, kw_only=True)
class VariantScores:
    """A variant's metric on dev, and on test if there is a test split."""

    dev: float
    test: float | None = None


@dataclass(frozen=True, kw_only=True)
class VariantResult:
    """One exported variant.

    `parity`: on the CPU; `other_providers`: on other providers, by name. `without_vnni`: only for static variants.
    `failures`: the reasons why the variant is not shipped, as text; empty if it is. `not_recommended`: the reason why a
    shipped variant could not be recommended. `latency_ms`: median from text to
    label; None before the benchmark. `bundle`: output folder of the command `export`.
    """

    parity: Parity
    other_providers: dict[str, Parity] = field(default_factory=dict)
    without_vnni: Saturation | None = None
    failures: list[str] = field(default_factory=list)
    scores: VariantScores | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    bundle: str | None = None
    not_recommended: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSteps:
    """Parity of the intermediate graphs: after the ONNX export, and after fusion."""

    exported: Parity
    fused: Parity


@dataclass(frozen=True, kw_only=True)
class RowLengths:
    """Tokens per row of train, before truncation to `max_length`, over all rows or a sample of `num_rows`.

    `share_longer`: rows that are truncated. `share_cut`: tokens that truncation removes. `p95`: the 95th percentile.
    """

    num_rows: int
    max_length: int
    share_longer: float
    share_cut: float
    p95: float
    longest: int


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The result of the export stage, or of the command `export`.

    `positive`: the class of the metric f1, for two classes. `fused_nodes`: number of nodes per fused operator.
    `teacher_variants`: bundles of the teacher, made only for the benchmark; `teacher_not_exported`: the reason if there
    are none. `recommended`: the recommended variant; None before the benchmark.
    """

    metric: Metric
    positive: str | None = None
    task_type: TaskTypeName
    variants: dict[str, VariantResult]
    fused_nodes: dict[str, int] = field(default_factory=dict)
    steps: ExportSteps | None = None
    teacher_variants: list[str] = field(default_factory=list)
    teacher_not_exported: str | None = None
    recommended: str | None = None
    labels: list[str] = field(default_factory=list)
    lengths: RowLengths | None = None

    @property
    def passed(self) -> list[str]:
        """The variants without a failure. After the gate, those that are shipped."""
        return [name for name, variant in self.variants.items() if not variant.failures]

    @property
    def metric_name(self) -> str:
        """The metric, with its positive class if it has one."""
        return metric_name(self.metric, self.positive)
