"""The measurements of a benchmark as plain typed records: the machine, the protocol, latencies, ratios, load."""

from dataclasses import dataclass, field

from export.machine_facts import Gpu as Gpu
from export.machine_facts import Machine as Machine
from export.machine_facts import MachineSettings as MachineSettings


@dataclass(frozen=True, kw_only=True)
class Noise:
    """`busy_cores`: cores in use in the second before the benchmark began. `stolen`: share of the cores' time that a
    hypervisor gave to others meanwhile. `throttled`: how often the kernel held this control group or a core back; None
    where it does not say.
    """

    busy_cores: float
    stolen: float
    throttled: int | None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How much is measured.

    Systems are visited in turn, in an order drawn anew each time, and each visit is short: what slows the machine for a
    second slows all of them. A round has `texts_per_round` single texts, `texts_per_visit` in a visit; `repeats` calls
    for each shape of the grid (of batches, `batch_repeats`), a visit each; and a visit with `throughput_texts` texts at
    hand at once. A visit begins with calls that are not counted. `warm_up_s`: at most, before a model's first texts and
    before each shape; it ends when the median is stable. `restart_every`: rounds, after which each model goes on in a
    new process, because a process is a little faster or slower than another for as long as it lives.
    """

    num_threads: int
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
    """Milliseconds, with the 95 % interval of order statistics (it needs no assumption on how latencies are spread)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Latencies of `n` calls, in milliseconds. Percentiles that so few calls do not support are None.

    `mad_ms`: median absolute deviation from the median.
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
    """How many times as fast as the baseline, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class LatencyHistogram:
    """How many calls, text to label, took between one edge and the next; milliseconds, the same edges for all rows."""

    edges_ms: list[float]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """Seconds of the parts of a process's start, files in the system's cache: the interpreter, imports, loading the
    model, its first answer. `python_s`: None where only what follows the interpreter's start was timed.
    """

    python_s: float | None
    import_s: float
    load_s: float
    first_answer_s: float

    @property
    def total_s(self) -> float:
        """From the start of a new process, or of its imports, to its first answer."""
        return (self.python_s or 0.0) + self.import_s + self.load_s + self.first_answer_s


@dataclass(frozen=True, kw_only=True)
class ProcessFacts:
    """How a system really ran, as read back from its process at the end.

    `ran_on`: the device or execution provider. `num_streams`, `versions`: of a peer, as it reports them.
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
    """One kind of operator: median milliseconds a call, its nodes in the graph, and the operations that they do (an
    addition and a multiplication are two), where they are products.
    """

    name: str
    ms: float
    num_nodes: int
    operations: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A bundle on one shape (texts x tokens): median milliseconds of a call, the operations that it does, its parts."""

    shape: str
    ms: float
    operations: float
    parts: list[OperatorTime]


@dataclass(frozen=True, kw_only=True)
class ProductCeiling:
    """The fastest product of large matrices, in 10^9 operations a second, and the library that reached it."""

    gops: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """This machine's roofline: products by precision, and memory read and written."""

    num_threads: int
    products: dict[str, ProductCeiling]
    gigabytes_per_s: float


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """What is asked for. `bound_ms`: that 99 of 100 answers must come within, from when the text arrived.

    `processes`: that serve a model, with the protocol's threads each; texts are dealt to them at random, as by a
    balancer that knows nothing of them. `probe_s`, `probe_texts`: how long a rate is held at least, and for how many
    texts; their arrivals are a Poisson process. `probes`: how many rates are tried.
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
    """Poisson arrivals at `rate` texts a second: their latencies, and whether the bound held."""

    rate: float
    holds: bool
    latency: Summary


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """One system under load. Rates in texts a second: `closed` with one text in each process at a time, `offline` with
    all at hand, `highest` of those tried at which the bound held, with all below it; None where it held at none.
    """

    closed: float | None = None
    offline: float | None = None
    probes: list[Probe] = field(default_factory=list)
    highest: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThreadPoint:
    """One system with one number of threads. `speedup_over_fewest`: over itself with the fewest threads;
    `speedup_over_first`: over the first row with as many. `texts_per_s`: when all are at hand.
    """

    latency: Summary
    speedup_over_fewest: Ratio
    speedup_over_first: Ratio | None
    texts_per_s: float


@dataclass(frozen=True, kw_only=True)
class ThreadSweep:
    """One system, by the number of threads; `error`: why there is no figure."""

    by_count: dict[str, ThreadPoint] = field(default_factory=dict)
    error: str | None = None
