"""Typed records of a benchmark's measurements: machine, protocol, latencies, ratios and load."""

from dataclasses import dataclass, field
from typing import Literal

from export.machine_facts import Gpu as Gpu
from export.machine_facts import Machine as Machine
from export.machine_facts import MachineSettings as MachineSettings

Effort = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Activity of other processes on the machine.

    `busy_cores`: cores in use in the second before the benchmark. `stolen`: share of CPU time that a hypervisor took
    away during the benchmark. `throttled`: how often the kernel throttled this control group or a core during the
    benchmark; None if it does not count this.
    """

    busy_cores: float
    stolen: float
    throttled: int | None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How much is measured.

    Systems are interleaved in random order, in short visits, so that a brief slowdown of the machine affects all of
    them. A round has three parts: `texts_per_round` single texts, `texts_per_visit` per visit; one visit per shape of
    the grid; and one visit with `throughput_texts` texts at once. `repeats`: calls per visit of a shape;
    `batch_repeats`: the same for batches. Each visit begins with calls that do not count.

    `warm_up_s`: longest warm-up in seconds, before a model's first texts and before each shape. It ends as soon as the
    median is stable. `restart_every`: each model continues in a new process after this number of rounds, because a
    process has a slightly different speed for its whole life. `effort`: the level that chose these values; None if they
    were not chosen by level. Explicit values may differ from those of the level.
    """

    num_threads: int
    effort: Effort | None = None
    rounds: int = 12
    texts_per_round: int = 30
    texts_per_visit: int = 5
    repeats: int = 10
    batch_repeats: int = 3
    throughput_texts: int = 128
    warm_up_s: float = 5.0
    restart_every: int = 2
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """A percentile in milliseconds, with its distribution-free 95 % interval from order statistics."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Latencies of `n` calls, in milliseconds. A percentile is None if there are too few calls for it.

    `mad_ms`: median absolute deviation from the median. `intervals`: by percentile, as "p90".
    """

    n: int
    min_ms: float
    median_ms: float
    mad_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    intervals: dict[str, Percentile] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A speedup over a baseline, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LatencyHistogram:
    """Number of calls, from text to label, between adjacent edges in milliseconds. All rows share one set of edges."""

    edges_ms: list[float]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """Seconds of the phases of a process start, with files in the page cache: interpreter, imports, model, first text.

    `python_s`: None if timing began after the start of the interpreter.
    """

    python_s: float | None
    import_s: float
    load_s: float
    first_answer_s: float

    @property
    def total_s(self) -> float:
        """Seconds until the first prediction, from the first phase that was timed."""
        return (self.python_s or 0.0) + self.import_s + self.load_s + self.first_answer_s


@dataclass(frozen=True, kw_only=True)
class ProcessFacts:
    """How a system actually ran, as its process reported at the end.

    `ran_on`: the device or execution provider. `num_streams`, `versions`: reported by peers only.
    """

    num_threads: int
    ran_on: str
    priority: int
    cores: int | None
    peak_rss_bytes: int
    num_streams: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """One group of operators in a profile.

    `ms`: median milliseconds per call. `num_nodes`: nodes in the graph. `operations`: operations of matrix
    multiplications; a multiplication and an addition count as two.
    """

    name: str
    ms: float
    num_nodes: int
    operations: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A bundle on one shape (texts x tokens): median milliseconds and operations per call, by group of operators."""

    shape: str
    ms: float
    operations: float
    parts: list[OperatorTime]


@dataclass(frozen=True, kw_only=True)
class ProductCeiling:
    """The fastest multiplication of large matrices, in 10^9 operations per second. `by`: the library."""

    gops: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """This machine's roofline: peak matrix multiplication by precision, and memory bandwidth (reads plus writes)."""

    num_threads: int
    products: dict[str, ProductCeiling]
    gigabytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """Parameters of a load test.

    `bound_ms`: limit of the 99th percentile of latency, counted from the arrival of the text. `processes`: processes
    that serve a model, each with the protocol's threads. Texts are assigned to them at random, as by a load balancer
    without feedback. A probe tries one rate with Poisson arrivals, for at least `probe_s` seconds and `probe_texts`
    texts. `probes`: number of rates to try. `closed_s`: duration of the closed loop. `offline_texts`: texts of the
    offline test.
    """

    bound_ms: float
    processes: int = 1
    probe_s: float = 3.0
    probe_texts: int = 320
    probes: int = 6
    closed_s: float = 2.0
    offline_texts: int = 512


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Poisson arrivals at `rate` texts per second: the latencies, and whether they stayed within the bound."""

    rate: float
    holds: bool
    latency: Summary


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """One system under load. Rates are in texts per second.

    `closed`: with one text per process at a time. `offline`: with all texts available at once. `highest`: the highest
    tried rate within the bound, below every rate that exceeded it; None if there is none.
    """

    closed: float | None = None
    offline: float | None = None
    probes: list[Probe] = field(default_factory=list)
    highest: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThreadPoint:
    """One system with one number of threads.

    `speedup_over_fewest`: over the same system with the fewest threads. `speedup_over_first`: over the first row with
    the same number of threads. `texts_per_s`: with all texts available at once.
    """

    latency: Summary
    speedup_over_fewest: Ratio
    speedup_over_first: Ratio | None
    texts_per_s: float


@dataclass(frozen=True, kw_only=True)
class ThreadSweep:
    """One system by number of threads. `error`: the reason if there are no figures."""

    by_count: dict[str, ThreadPoint] = field(default_factory=dict)
    error: str | None = None
