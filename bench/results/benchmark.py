"""The rows of a benchmark: what each measures, and every figure of it; loads no runtime."""

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
from compress.data.metrics import Metric
from export.results import SessionReport

Role = Literal["teacher", "student", "baseline", "peer", "model"]
Engine = Literal["torch", "onnxruntime", "openvino", "scikit-learn"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16", "int8", "int4"]
Step = Literal["distillation", "runtime", "quantisation", "total"]
TEXTS = "texts"  # the task's own texts, from text to label; other keys of `*_by_input` are shapes of the grid


@dataclass(frozen=True, kw_only=True)
class SizeByPart:
    """Bytes on disk by part; they add up to the whole."""

    embedding: int
    encoder: int
    tokenizer: int
    other_files: int


@dataclass(frozen=True, kw_only=True)
class SpeedupStep:
    """One factor of a speed-up: what changed from one system to the next, and the ratio. `total`: all together."""

    step: Step
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How many times as fast as another row, named by its `id`."""

    other: int
    ratio: Ratio


@dataclass(frozen=True, kw_only=True)
class System:
    """What one row of a benchmark measures.

    `label`: what its user calls it. `variant`: of a bundle, as in bundle.json; `precision`: of its weights. `compiled`:
    by torch.compile. `random_head`: an encoder that was not fine-tuned, timed with a head of random weights.
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
        """For people alone: no code looks a row up by it."""
        device = ", CUDA" if self.device == "cuda" else ""
        if self.role in ("baseline", "peer"):
            return self.label + device
        if self.engine == "torch":
            head = " (head random)" if self.random_head else ""
            return f"{self.label}{head}, torch {self.precision}{' compiled' if self.compiled else ''}{device}"
        return f"{self.label}, {self.engine}{device}"


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow(System):
    """One system with its figures. Speed-ups are over the first row of the same device: above 1 is faster than it.

    `id`: by which other rows refer to it. `score_interval`: 95 %, of the rows' number. `latency`: from text to label at
    batch 1, on the task's own lengths; `latency_by_boundary`: of the same calls, what lies within narrower boundaries.
    `latency_by_shape`: the model alone, by the grid's shapes. `texts_per_s`: when all are at hand; `cores_used`
    meanwhile. `cold_start`: the median of `num_cold_starts`. `breakdown_by_input`: the factors of its speed-up over the
    teacher; `comparisons_by_input`: against other rows; both by input, TEXTS or a shape of the grid. `error`: why there
    is nothing more in the row.
    """

    id: int
    size_bytes: int
    sha256: str | None = None
    num_parameters: int | None = None
    score: float | None = None
    score_interval: tuple[float, float] | None = None
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
    """A system that would have taken part, and why it did not."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class AAControl:
    """The row `id` measured twice in the same run: their ratio, and whether its interval holds 1, as it must."""

    id: int
    ratio: Ratio
    is_valid: bool


@dataclass(frozen=True, kw_only=True)
class TextLengths:
    """Tokens of the texts. `padding`: share of padding in batches of 32 as the texts come, and `padding_sorted` in
    batches of similar length.
    """

    mean: float
    p90: float
    longest: float
    padding: float
    padding_sorted: float


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """The benchmark. `grid`: shapes (texts x tokens) on which the model alone is timed. `ceilings`, `load` and
    `thread_counts` are None where that was not asked for. Digests are SHA-256 in hex: of the texts and labels, and of
    our own code; None where they were not taken. Raises ValueError without rows, and where
    an `id` is not that of exactly one row.
    """

    machine: Machine
    noise: Noise
    protocol: Protocol
    metric: Metric
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
            raise ValueError("expected at least one row")
        ids = [row.id for row in self.rows]
        references = {each.other for row in self.rows for each in chain(*row.comparisons_by_input.values())}
        if self.aa_control is not None:
            references.add(self.aa_control.id)
        if len(set(ids)) < len(ids) or not references <= set(ids):
            raise ValueError(f"expected references to one row each, got {sorted(references)} for the ids {ids}")

    def row(self, row_id: int) -> BenchmarkRow:
        """The row with this id."""
        return next(row for row in self.rows if row.id == row_id)
