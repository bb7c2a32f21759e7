"""What a reader of the figures should know before believing them: in plain words, with the figure and the advice."""

from collections.abc import Iterator

from bench.measurement import machine, noise
from bench.measurement.stats import FEWEST
from bench.report import table
from bench.results.benchmark import BenchResult
from bench.results.document import Results
from bench.results.phrases import words_for
from export.graph.operators import ATTENTIONS
from export.quantisation.variants import FOR_GPU, VARIANTS

FEW_ROWS = 1000
LITTLE_ABOVE = 0.05
WIDE_INTERVAL = 0.25
MORE_CORES = 0.3  # busy than there are threads: what no measuring error explains
LARGE_SHIFT = 1e-3  # of a probability, by the other texts of its batch


def caveats_of(results: Results) -> list[str]:
    """One sentence or two for each reason to doubt; empty when there is none."""
    bench = results.stages.bench
    return [
        *_about_rows(results),
        *_about_scores(results),
        *_about_fairness(bench),
        *_about_noise(bench),
        *_about_speed(bench),
        *_about_load(bench),
        *_about_what_ran(bench),
        *_about_variants(results),
    ]


def _about_rows(results: Results) -> Iterator[str]:
    if results.run is not None and results.run.smoke:
        yield "This was a smoke run, a few rows and steps: it shows that the recipe runs, and says nothing of quality."
    if results.run is not None and results.run.selected_on_test:
        yield (
            "There were too few rows for a test split: the scores are of the rows that chose the checkpoints, and so "
            "a little too good. Name a test split, or gather more rows."
        )
    num_rows = table.num_scored_rows(results)
    if num_rows is not None and num_rows < FEW_ROWS and results.metric == "accuracy":
        yield (
            f"The scores are of {num_rows} rows, so each is known to about {50 / num_rows**0.5 * 1.96:.0f} points: "
            "smaller differences may be chance."
        )


def _about_scores(results: Results) -> Iterator[str]:
    scored = [(row, row.score) for row in results.stages.bench.rows if row.score is not None]
    common = None if results.run is None else results.run.most_common_label
    best = max((score for _, score in scored), default=None) if results.metric == "accuracy" else None
    if common is not None and best is not None and best < common + LITTLE_ABOVE:
        yield (
            f"Always answering the most common label would score {common:.3f}, the best model here {best:.3f}: the "
            "task is hardly learned. More data, a better teacher, or another metric (matthews, f1) would tell more."
        )
    baseline = next(((row.name, score) for row, score in scored if row.role == "baseline"), None)
    if baseline is None:
        return
    name, floor = baseline
    teacher = next((score for row, score in scored if row.role == "teacher"), None)
    if teacher is not None and teacher <= floor:
        yield (
            f"The teacher ({teacher:.3f}) is no better than {name} ({floor:.3f}): a student "
            "cannot be expected to be. Look at the data and at how the teacher was fine-tuned."
        )
    bundles = [(row.name, score) for row, score in scored if row.engine == "onnxruntime" and row.role != "peer"]
    beaten = next(((bundle, score) for bundle, score in bundles if score <= floor), None)
    if beaten is not None:
        yield (
            f"{name} ({floor:.3f}) does as well as {beaten[0]} ({beaten[1]:.3f}): "
            "a linear model may be all that this task needs."
        )


def _about_fairness(bench: BenchResult) -> Iterator[str]:
    """Whether all had the same: as read back from each process at the end."""
    processes = [(row.name, row.process) for row in bench.rows if row.process is not None]
    yield from _unlike("threads", [(name, process.num_threads) for name, process in processes])
    yield from _unlike("the priority", [(name, process.priority) for name, process in processes])
    yield from _unlike("cores", [(name, process.cores) for name, process in processes if process.cores is not None])
    allowed = bench.protocol.num_threads
    for row in bench.rows:
        if row.cores_used is not None and row.cores_used > allowed + MORE_CORES:
            yield (
                f"UNFAIR: {row.name} kept {row.cores_used:.1f} cores busy, and was given {allowed} "
                f"thread{'s' * (allowed > 1)}: it has threads of its own. Its times can't be compared."
            )


def _unlike(what: str, values: list[tuple[str, int | None]]) -> Iterator[str]:
    """Of values by name: the first that differs from most."""
    counted = [value for _, value in values]
    if len(set(counted)) > 1:
        most = max(counted, key=counted.count)
        other, value = next((name, value) for name, value in values if value != most)
        yield (
            f"UNFAIR: {other} ran with {what} {value}, the others with {most}: their times can't be "
            "compared. Look for what sets it (an environment variable, a wrapper), and measure again."
        )


def _about_noise(bench: BenchResult) -> Iterator[str]:
    measured, cores = bench.noise, bench.machine.usable_cores
    advice = "ratios, which are paired, hold better than milliseconds. Measure again when it is quiet."
    if measured.busy_cores > noise.BUSY_CORES:
        yield (
            f"Other work ran on this machine ({measured.busy_cores:.1f} of its {cores} cores were busy before the "
            f"benchmark began): {advice}"
        )
    if measured.stolen > noise.STOLEN:
        yield f"The hypervisor gave {measured.stolen:.0%} of the cores' time to others: {advice}"
    if measured.throttled:
        yield f"The processor was held back {measured.throttled} times, by its quota or by heat: {advice}"
    governor = bench.machine.settings.governor
    if governor not in (None, "performance"):
        yield f"The frequency governor is {governor}: set it to performance, or milliseconds will wander."


def _about_speed(bench: BenchResult) -> Iterator[str]:
    control = bench.aa_control
    if control is not None and not control.is_valid:
        yield (
            f"INVALID: {bench.row(control.id).name} against itself came out {table.ratio(control.ratio)} times as "
            "fast, not 1.00: this machine was too unsteady, and no ratio here can be trusted. Measure again when it is "
            "quiet."
        )
    for row in bench.rows:
        ratio = row.speedup
        if ratio is not None and (ratio.high - ratio.low) / 2 > WIDE_INTERVAL * ratio.value:
            yield f"The speed of {row.name} is uncertain ({table.ratio(ratio)}): measure with more rounds."
    calls = min((row.latency.n for row in bench.rows if row.latency is not None), default=None)
    if calls is not None and calls < (needed := max(FEWEST.values())):
        yield f"{calls} calls show no 99th percentile, for which {needed} are needed: measure with more rounds."
    yield from (f"{row.name} was not measured: {row.error}." for row in bench.rows if row.error)
    yield from (f"{absent.name} was not measured: {absent.reason}." for absent in bench.absent)


def _about_what_ran(bench: BenchResult) -> Iterator[str]:
    """Whether the runtime did with each bundle what was meant."""
    for row in bench.rows:
        if row.session is None or row.process is None:
            continue
        wanted, nodes = row.process.ran_on, row.session.nodes
        elsewhere = {provider: count for provider, count in nodes.items() if provider != wanted}
        if elsewhere:
            yield (
                f"{row.name}: {sum(elsewhere.values())} of {sum(nodes.values())} nodes did not run on {wanted} but on "
                f"{', '.join(elsewhere)}: its speed is not that of "
                f"{wanted}. Look at the installed onnxruntime (`pocketbert doctor`)."
            )
        if not set(ATTENTIONS) & set(row.session.fused):
            yield (
                f"{row.name}: no attention of it is fused, in {sum(nodes.values())} nodes: it is slower than "
                "it could be. Export the model again with `pocketbert export`."
            )


def _about_load(bench: BenchResult) -> Iterator[str]:
    cores, threads = bench.machine.usable_cores, bench.protocol.num_threads
    if bench.load is not None and bench.load.processes * threads > cores:
        fitting = machine.threads_for(bench.load.processes, cores)
        yield (
            f"Under load {bench.load.processes} processes of {threads} threads each shared {cores} cores and "
            f"waited for one another: with --threads {fitting} they will bear far more."
        )


def _about_variants(results: Results) -> Iterator[str]:
    variants = {} if results.stages.export is None else results.stages.export.variants
    known = {name: VARIANTS[name] for name in variants if name in VARIANTS}
    words = words_for(results.task_type)
    for name, variant in variants.items():
        in_batch = variant.parity.batch_invariance
        shift = max(in_batch.batch_shift, in_batch.padding_shift)
        if shift > LARGE_SHIFT:
            yield (
                f"An answer of {name} depends on the texts beside it in a batch: {words.moved} moved by up to "
                f"{shift:.2g}. predict.py runs texts one by one; do the same where you load the model yourself."
            )
        is_fp16 = name in known and known[name].weights == "fp16"
        if is_fp16 and variant.parity.session.low_precision < 1:
            yield (
                f"{name} is made for GPUs: on this processor the runtime computes it in fp32, so that its speed and "
                "accuracy here are not those of fp16."
            )
    quantised = [name for name, variant in known.items() if variant.weights not in FOR_GPU]
    if quantised and not machine.has_int8_dot_product(results.stages.bench.machine):
        yield (
            f"This processor has no int8 dot product: on one that has (VNNI, AMX, DOTPROD), {', '.join(quantised)} "
            "will be faster. Measure where it will serve."
        )
