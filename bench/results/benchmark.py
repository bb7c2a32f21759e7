"""Typed records of a benchmark's rows: the systems and all their figures. Loads no inference runtime."""

from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from bench.results.measurements import (
    Ceilings,
    ColdStart,
    LatencyHistogram,
    LoadResult,
    LoadTest,
    Machine,
    Noise,
    ProcessFacts,
    Profile,
    Protocol,
    Ratio,
    Summary,
    ThreadSweep,
)
from compress.data.metrics import Metric, metric_name
from export.results import MetricDifference, SessionReport

Role = Literal["teacher", "student", "baseline", "peer", "model"]
Engine = Literal["torch", "onnxruntime", "openvino", "ctranslate2", "scikit-learn"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16", "int8", "int4"]
Step = Literal["distillation", "runtime", "quantisation", "total"]
TEXTS = "texts"  # key of the task's own texts, from text to label; other keys of `*_by_input` are shapes of the grid


@dataclass(frozen=True, kw_only=True)
class SizeByPart:
    """Bytes on disk by part. They add up to the total size."""

    embedding: int
    encoder: int
    tokenizer: int
    other_files: int


@dataclass(frozen=True, kw_only=True)
class SpeedupStep:
    """One factor of a speedup: the change from one system to the next, and the ratio. `total`: all steps together."""

    step: Step
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The speedup over another row, which is given by its `id`."""

    other: int
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class System:
    """The system that one row measures.

    `label`: the user's name for it. `variant`: the variant of a bundle, as in bundle.json. `precision`: of the weights.
    `compiled`: with torch.compile. `random_head`: an encoder without fine-tuning, timed with a head of random weights.
    """

    label: str
    role: Role
    engine: Engine
    device: Device = "cpu"
    precision: Precision = "fp32"
    variant: str | None = None
    compiled: bool = False
    random_head: bool = False

    @property
    def name(self) -> str:
        """The display name. No code identifies a row by it."""
        device = ", CUDA" if self.device == "cuda" else ""
        if self.role in ("baseline", "peer"):
            return self.label + device
        if self.engine == "torch":
            head = " (head random)" if self.random_head else ""
            return f"{self.label}{head}, torch {self.precision}{' compiled' if self.compiled else ''}{device}"
        return f"{self.label}, {self.engine}{device}"


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """A class, by its index, and the number of its rows."""

    index: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(System):
    """One system with its figures. Speedups are over the first row on the same device; above 1 means faster.

    `id`: identifies the row for other rows. `score_interval`: 95 %, over rows. `retention`: its score divided by the
    teacher's, paired by text, with the 95 % interval; None if the teacher's score is not clearly above 0.
    `minus_baseline`: its score minus the TF-IDF baseline's. `never_predicted`: classes with texts, but never predicted,
    most frequent first; None if not scored. `latency`: from text to label at batch size 1, on the task's own texts;
    `latency_by_boundary`: the inner parts of the same calls. `latency_by_shape`: the model without tokenisation, by
    shape of the grid. `texts_per_s`: with all texts available at once; `cores_used`: during this test. `cold_start`:
    median of `num_cold_starts`. `breakdown_by_input`: the factors of the speedup over the teacher;
    `comparisons_by_input`: speedups over other rows; both by TEXTS or shape. `error`: the reason if the row has no
    figures.
    """

    id: int
    size_bytes: int
    sha256: str | None = None
    num_parameters: int | None = None
    score: float | None = None
    score_interval: tuple[float, float] | None = None
    retention: Ratio | None = None
    minus_baseline: MetricDifference | None = None
    never_predicted: list[ClassCount] | None = None
    latency: Summary | None = None
    speedup: Ratio | None = None
    latency_by_boundary: dict[str, Summary] = field(default_factory=dict)
    speedup_by_boundary: dict[str, Ratio] = field(default_factory=dict)
    latency_by_shape: dict[str, Summary] = field(default_factory=dict)
    speedup_by_shape: dict[str, Ratio] = field(default_factory=dict)
    texts_per_s: float | None = None
    cores_used: float | None = None
    histogram: LatencyHistogram | None = None
    cold_start: ColdStart | None = None
    num_cold_starts: int = 0
    process: ProcessFacts | None = None
    session: SessionReport | None = None
    size_by_part: SizeByPart | None = None
    breakdown_by_input: dict[str, list[SpeedupStep]] = field(default_factory=dict)
    comparisons_by_input: dict[str, list[Comparison]] = field(default_factory=dict)
    profiles: list[Profile] = field(default_factory=list)
    load: LoadResult | None = None
    threads: ThreadSweep | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class AbsentSystem:
    """A system that could not take part, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class AAControl:
    """The A/A control: the row `id` measured twice in the same run.

    `ratio`: between the two measurements. `is_valid`: whether its interval contains 1, as it should.
    """

    id: int
    ratio: Ratio
    is_valid: bool


@dataclass(frozen=True, kw_only=True)
class TextLengths:
    """Lengths of the texts in tokens.

    `padding`: share of padding in batches of 32 in the original order; `padding_sorted`: in batches of similar length.
    """

    mean: float
    p90: float
    longest: float
    padding: float
    padding_sorted: float


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The result of a benchmark.

    `positive`: the class of the metric f1, for two classes. `grid`: shapes (texts x tokens) on which the model is timed
    without tokenisation. `ceilings`, `load` and `thread_counts`: None if not requested. `texts_sha256`: digest of texts
    and labels; `code_sha256`: of our own code; both in hex, None if not computed. Raises ValueError if there are no
    rows, or if an `id` is duplicate or unknown.
    """

    machine: Machine
    noise: Noise
    protocol: Protocol
    metric: Metric
    positive: str | None = None
    grid: list[str]
    text_lengths: TextLengths | None
    aa_control: AAControl | None
    rows: list[BenchmarkRow]
    absent: list[AbsentSystem] = field(default_factory=list)
    ceilings: Ceilings | None = None
    load: LoadTest | None = None
    thread_counts: list[int] | None = None
    texts_sha256: str | None
    code_sha256: str | None

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("expected at least one row, got none")
        ids = [row.id for row in self.rows]
        references = {comparison.other for row in self.rows for comparison in chain(*row.comparisons_by_input.values())}
        if self.aa_control is not None:
            references.add(self.aa_control.id)
        if len(set(ids)) < len(ids) or not references <= set(ids):
            raise ValueError(f"expected unique row ids and references to them, got {ids} and {sorted(references)}")

    @property
    def metric_name(self) -> str:
        """The metric, with its positive class if it has one."""
        return metric_name(self.metric, self.positive)

    def row(self, row_id: int) -> BenchmarkRow:
        """The row with this id."""
        return next(row for row in self.rows if row.id == row_id)

    def student_bundle(self, variant: str | None) -> BenchmarkRow | None:
        """The timed row of the student's variant on the device of the first row; None if there is none."""
        device = self.rows[0].device
        return next(
            (
                row
                for row in self.rows
                if variant is not None
                and (row.role, row.variant, row.device) == ("student", variant, device)
                and row.speedup is not None
            ),
            None,
        )
