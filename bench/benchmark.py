"""A benchmark from its lineup to its result: what a run shares with a benchmark of folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.analysis.operator_profile import profile_operators
from bench.analysis.provenance import digests
from bench.analysis.roofline import measure_ceilings
from bench.analysis.sizes import size_breakdown
from bench.analysis.summary import aa_ratio, benchmark_rows, speedup_breakdown, speedup_over, text_lengths
from bench.measurement import machine, noise
from bench.measurement.worker_process import WorkerError
from bench.results.benchmark import TEXTS, AbsentSystem, BenchmarkRow, BenchResult
from bench.results.measurements import Ceilings, LoadResult, LoadTest, Profile, Protocol, ThreadSweep
from bench.timing.latency import Samples, time_systems
from bench.timing.load import measure_load
from bench.timing.systems import Contender, Lineup, Shape, Workload, files_of, shape_name, with_aa_control
from bench.timing.thread_sweep import counts_up_to, measure_threads
from compress.common.files import write_json
from compress.common.progress import progress_bar
from compress.data.metrics import Metric

LIMIT_SHAPES: tuple[Shape, ...] = ((1, 128), (32, 128))  # on which the distance to the machine's limits is taken
NO_CUDA = AbsentSystem(name="CUDA", reason="no CUDA device")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured besides latencies.

    `load`: also under load. `limits`: also this machine's ceilings, and how near the bundles come to them.
    `thread_sweep`: also with fewer threads.
    """

    load: LoadTest | None = None
    limits: bool = False
    thread_sweep: bool = False


def run_benchmark(
    lineup: Lineup,
    workload: Workload,
    protocol: Protocol,
    metric: Metric,
    options: BenchOptions,
    *,
    samples_file: Path | None,
    console: Console,
) -> BenchResult:
    """Measure with a progress bar, and keep the raw samples where there is a file for them."""
    here, watch = machine.describe(), noise.NoiseMonitor()
    with progress_bar("benchmark", console) as on_progress:
        samples = time_systems(with_aa_control(lineup.contenders), workload, protocol, on_progress=on_progress)
    noise_meanwhile = watch.noise()
    if samples_file is not None:
        write_json(samples_file, to_jsonable_python(samples))
    timed = _timed_rows(lineup, samples, workload, protocol, metric)
    roofline = _roofline(lineup, protocol, console) if options.limits else None
    loads = {} if options.load is None else _under_load(lineup, workload, protocol, options.load, console)
    counts = counts_up_to(protocol.num_threads) if options.thread_sweep else None
    sweeps = {} if counts is None else _by_threads(lineup, workload, protocol, counts, console)
    hashes = digests(lineup.contenders, workload)
    return BenchResult(
        machine=here,
        noise=noise_meanwhile,
        protocol=protocol,
        metric=metric,
        grid=[shape_name(shape) for shape in workload.grid],
        text_lengths=text_lengths(samples),
        aa_control=aa_ratio(samples),
        rows=[
            replace(
                row,
                sha256=hashes.models[row.id],
                profiles=[] if roofline is None else roofline.profiles.get(row.id, []),
                load=loads.get(row.id),
                threads=sweeps.get(row.id),
            )
            for row in timed
        ],
        absent=[*lineup.absent, *([] if here.gpu else [NO_CUDA])],
        ceilings=None if roofline is None else roofline.ceilings,
        load=options.load,
        thread_counts=counts,
        texts_sha256=hashes.texts,
        code_sha256=hashes.code,
    )


def _timed_rows(
    lineup: Lineup, samples: Sequence[Samples], workload: Workload, protocol: Protocol, metric: Metric
) -> list[BenchmarkRow]:
    """The rows with all that the samples say, and the sizes on disk."""
    own = samples[: len(lineup.contenders)]  # without the A/A control, which comes last
    inputs = (TEXTS, *map(shape_name, workload.grid))
    breakdowns = {each.end: each for each in lineup.breakdowns}
    timed = benchmark_rows(
        own,
        sizes=[sum(file.stat().st_size for file in files_of(each)) for each in lineup.contenders],
        workload=workload,
        metric=metric,
        num_throughput_texts=protocol.throughput_texts,
    )
    return [
        replace(
            row,
            size_by_part=size_breakdown(Path(each.path)) if each.system.device == "cpu" else None,
            breakdown_by_input={where: speedup_breakdown(own, breakdowns[each], where=where) for where in inputs}
            if each in breakdowns
            else {},
            comparisons_by_input={
                where: speedup_over(own, each, lineup.compared[each], where=where) for where in inputs
            }
            if each in lineup.compared
            else {},
        )
        for row, each in zip(timed, lineup.contenders, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Roofline:
    """This machine's ceilings, and the profiles of the bundles by the `id` of their rows."""

    ceilings: Ceilings
    profiles: dict[int, list[Profile]]


def _roofline(lineup: Lineup, protocol: Protocol, console: Console) -> _Roofline | None:
    """The ceilings, and the profile of every bundle on the CPU; None where the ceilings cannot be measured."""
    bundles = {
        place: each for place, each in enumerate(lineup.contenders) if each.is_bundle and each.system.device == "cpu"
    }
    measured: dict[int, list[Profile]] = {}
    with progress_bar("limits", console) as on_progress:
        try:
            here = measure_ceilings(protocol.num_threads)
        except WorkerError as error:
            console.print(f"  this machine's limits are left out: {error}")
            return None
        on_progress(1, 1 + len(bundles))
        for done, (place, bundle) in enumerate(bundles.items(), start=2):
            try:
                measured[place] = profile_operators(Path(bundle.path), LIMIT_SHAPES, protocol.num_threads)
            except WorkerError:
                continue  # the bundle's row says why it can't run
            finally:
                on_progress(done, 1 + len(bundles))
    return _Roofline(ceilings=here, profiles=measured)


def _under_load(
    lineup: Lineup, workload: Workload, protocol: Protocol, load: LoadTest, console: Console
) -> dict[int, LoadResult]:
    """By the `id` of the row."""
    served = _encoders_on_cpu(lineup)
    with progress_bar("under load", console) as on_progress:
        results = measure_load(list(served.values()), workload, protocol, load, on_progress=on_progress)
    return dict(zip(served, results, strict=True))


def _by_threads(
    lineup: Lineup, workload: Workload, protocol: Protocol, counts: Sequence[int], console: Console
) -> dict[int, ThreadSweep]:
    """By the `id` of the row."""
    swept = _encoders_on_cpu(lineup)
    with progress_bar("by threads", console) as on_progress:
        results = measure_threads(list(swept.values()), workload, protocol, counts, on_progress=on_progress)
    return dict(zip(swept, results, strict=True))


def _encoders_on_cpu(lineup: Lineup) -> dict[int, Contender]:
    """By the `id` of their rows."""
    return {
        place: each
        for place, each in enumerate(lineup.contenders)
        if each.system.device == "cpu" and each.system.role != "baseline"
    }
