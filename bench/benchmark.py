"""Runs a benchmark from its lineup to its result. Shared by runs and by benchmarks of folders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.analysis.operator_profile import profile_operators
from bench.analysis.provenance import digests
from bench.analysis.roofline import measure_roofline
from bench.analysis.sizes import size_breakdown
from bench.analysis.summary import aa_ratio, benchmark_rows, speedup_breakdown, speedup_over, text_lengths
from bench.measurement import machine, noise
from bench.measurement.worker_process import WorkerError
from bench.results.benchmark import TEXTS, AbsentSystem, BenchmarkRow, BenchResult
from bench.results.measurements import Ceilings, LoadResult, LoadTest, Profile, Protocol, ThreadSweep
from bench.timing.latency import Samples, time_systems
from bench.timing.load import measure_load
from bench.timing.systems import Contender, Lineup, Shape, Workload, files_of, shape_name, with_aa_control
from bench.timing.thread_sweep import measure_threads, thread_counts_up_to
from compress.common.files import write_json
from compress.common.progress import progress_bar
from compress.data.metrics import Metric

ROOFLINE_SHAPES: tuple[Shape, ...] = ((1, 128), (32, 128))  # on which bundles are compared with the roofline
NO_CUDA = AbsentSystem(name="CUDA", reason="no CUDA device")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Optional measurements besides latency.

    `load`: parameters of a load test. `roofline`: measure the machine's roofline, and profile the bundles.
    `thread_sweep`: repeat with fewer threads.
    """

    load: LoadTest | None = None
    roofline: bool = False
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
    """Run all measurements with progress bars. `samples_file`: target of the raw samples, if any."""
    here, monitor = machine.describe(), noise.NoiseMonitor()
    with progress_bar("benchmark", console) as on_progress:
        samples = time_systems(with_aa_control(lineup.contenders), workload, protocol, on_progress=on_progress)
    noise_of_timing = monitor.noise()
    if samples_file is not None:
        write_json(samples_file, to_jsonable_python([_without_folder(each) for each in samples]))
    timed_rows = _timed_rows(lineup, samples, workload, protocol, metric)
    roofline = _measure_roofline(lineup, protocol, console) if options.roofline else None
    loads = {} if options.load is None else _measure_load(lineup, workload, protocol, options.load, console)
    counts = thread_counts_up_to(protocol.num_threads) if options.thread_sweep else None
    sweeps = {} if counts is None else _measure_threads(lineup, workload, protocol, counts, console)
    hashes = digests(lineup.contenders, workload)
    return BenchResult(
        machine=here,
        noise=noise_of_timing,
        protocol=protocol,
        metric=metric,
        positive=None if workload.positive is None else workload.positive.name,
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
            for row in timed_rows
        ],
        absent=[*lineup.absent, *([] if here.gpu else [NO_CUDA])],
        ceilings=None if roofline is None else roofline.ceilings,
        load=options.load,
        thread_counts=counts,
        texts_sha256=hashes.texts,
        code_sha256=hashes.code,
    )


def _without_folder(samples: Samples) -> Samples:
    """The same samples without the folder of the model, which is private and says nothing elsewhere."""
    return replace(samples, contender=replace(samples.contender, path=Path(samples.contender.path).name))


def _timed_rows(
    lineup: Lineup, samples: Sequence[Samples], workload: Workload, protocol: Protocol, metric: Metric
) -> list[BenchmarkRow]:
    """The rows with all figures from the samples, and the sizes on disk."""
    own_samples = samples[: len(lineup.contenders)]  # without the A/A control, which comes last
    inputs = (TEXTS, *map(shape_name, workload.grid))
    breakdowns = {breakdown.end: breakdown for breakdown in lineup.breakdowns}
    rows = benchmark_rows(
        own_samples,
        sizes=[sum(file.stat().st_size for file in files_of(contender)) for contender in lineup.contenders],
        workload=workload,
        metric=metric,
        num_throughput_texts=protocol.throughput_texts,
    )
    return [
        replace(
            row,
            size_by_part=size_breakdown(Path(contender.path)) if contender.system.device == "cpu" else None,
            breakdown_by_input={
                where: speedup_breakdown(own_samples, breakdowns[contender], where=where) for where in inputs
            }
            if contender in breakdowns
            else {},
            comparisons_by_input={
                where: speedup_over(own_samples, contender, lineup.compared[contender], where=where) for where in inputs
            }
            if contender in lineup.compared
            else {},
        )
        for row, contender in zip(rows, lineup.contenders, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Roofline:
    """The machine's roofline, and the profiles of the bundles by the `id` of their rows."""

    ceilings: Ceilings
    profiles: dict[int, list[Profile]]


def _measure_roofline(lineup: Lineup, protocol: Protocol, console: Console) -> _Roofline | None:
    """The roofline, and the profile of every bundle on the CPU; None if the roofline cannot be measured."""
    bundles = {
        row_id: contender
        for row_id, contender in enumerate(lineup.contenders)
        if contender.is_bundle and contender.system.device == "cpu"
    }
    profiles: dict[int, list[Profile]] = {}
    with progress_bar("roofline", console) as on_progress:
        try:
            ceilings = measure_roofline(protocol.num_threads)
        except WorkerError as error:
            console.print(f"  skipped the roofline of this machine: {error}")
            return None
        on_progress(1, 1 + len(bundles))
        for done, (row_id, bundle) in enumerate(bundles.items(), start=2):
            try:
                profiles[row_id] = profile_operators(Path(bundle.path), ROOFLINE_SHAPES, protocol.num_threads)
            except WorkerError:
                continue  # the bundle's row has the reason
            finally:
                on_progress(done, 1 + len(bundles))
    return _Roofline(ceilings=ceilings, profiles=profiles)


def _measure_load(
    lineup: Lineup, workload: Workload, protocol: Protocol, load: LoadTest, console: Console
) -> dict[int, LoadResult]:
    """The results of the load test by the `id` of the row."""
    served = _models_on_cpu(lineup)
    with progress_bar("load test", console) as on_progress:
        results = measure_load(list(served.values()), workload, protocol, load, on_progress=on_progress)
    return dict(zip(served, results, strict=True))


def _measure_threads(
    lineup: Lineup, workload: Workload, protocol: Protocol, counts: Sequence[int], console: Console
) -> dict[int, ThreadSweep]:
    """The thread sweeps by the `id` of the row."""
    swept = _models_on_cpu(lineup)
    with progress_bar("thread sweep", console) as on_progress:
        results = measure_threads(list(swept.values()), workload, protocol, counts, on_progress=on_progress)
    return dict(zip(swept, results, strict=True))


def _models_on_cpu(lineup: Lineup) -> dict[int, Contender]:
    """The contenders on the CPU except the TF-IDF baseline, by the `id` of their rows."""
    return {
        row_id: contender
        for row_id, contender in enumerate(lineup.contenders)
        if contender.system.device == "cpu" and contender.system.role != "baseline"
    }
