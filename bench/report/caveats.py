"""Caveats: the reasons to doubt the figures of a report, each with its figure and advice."""

from collections.abc import Iterator

from bench.measurement import machine, noise
from bench.measurement.stats import MIN_SAMPLES
from bench.report import table
from bench.report.effort import quick_caveat
from bench.report.score_caveats import score_caveats
from bench.results.benchmark import BenchResult
from bench.results.document import Results
from bench.results.measurements import Ratio
from bench.results.phrases import phrases_for
from export.graph.operators import ATTENTIONS, INT8_PRODUCT
from export.quantisation.variants import FOR_GPU, VARIANTS

WIDE_INTERVAL = 0.25  # half the width of a speedup's interval, as a share of the speedup
EXCESS_CORES = 0.3  # busy cores beyond the number of threads: more than measuring error explains
LARGE_SHIFT = 1e-3  # change of a probability that depends on the batch


def caveats_of(results: Results) -> list[str]:
    """A few sentences for each reason to doubt; empty if there is none."""
    bench = results.stages.bench
    return [
        *score_caveats(results),
        *_about_fairness(bench),
        *_about_noise(bench),
        *_about_effort(results),
        *_about_speed(bench),
        *_about_load(bench),
        *_about_sessions(bench),
        *_about_variants(results),
    ]


def _about_fairness(bench: BenchResult) -> Iterator[str]:
    """Whether all systems ran under the same conditions, as read from each process at its end."""
    processes = [(row.name, row.process) for row in bench.rows if row.process is not None]
    yield from _outlier("number of threads", [(name, process.num_threads) for name, process in processes])
    yield from _outlier("priority", [(name, process.priority) for name, process in processes])
    yield from _outlier(
        "number of cores", [(name, process.cores) for name, process in processes if process.cores is not None]
    )
    allowed = bench.protocol.num_threads
    for row in bench.rows:
        if row.cores_used is not None and row.cores_used > allowed + EXCESS_CORES:
            yield (
                f"UNFAIR: {row.name} kept {row.cores_used:.1f} cores busy with {allowed} "
                f"thread{'s' * (allowed > 1)} allowed, so it starts threads of its own. Its times cannot be compared "
                "with the others."
            )


def _outlier(what: str, values: list[tuple[str, int | None]]) -> Iterator[str]:
    """A caveat on the first value that differs from the most common one. `values`: by the name of the system."""
    counted = [value for _, value in values]
    if len(set(counted)) > 1:
        most = max(counted, key=counted.count)
        other, value = next((name, value) for name, value in values if value != most)
        yield (
            f"UNFAIR: {other} ran with a different {what} ({value}) than the others ({most}). Their times cannot be "
            "compared. Remove the cause (an environment variable, a wrapper script) and measure again."
        )


def _about_noise(bench: BenchResult) -> Iterator[str]:
    measured, cores = bench.noise, bench.machine.usable_cores
    advice = "Trust speedups, which are paired, more than milliseconds. Measure again on an idle machine."
    if measured.busy_cores > noise.BUSY_CORES:
        yield (
            f"Other programs ran on this machine: {measured.busy_cores:.1f} of its {cores} cores were busy before the "
            f"benchmark began. {advice}"
        )
    if measured.stolen > noise.STOLEN:
        yield f"The hypervisor gave {measured.stolen:.0%} of the cores' time to other guests. {advice}"
    if measured.throttled:
        yield f"The processor was throttled {measured.throttled} times, by its quota or by heat. {advice}"
    governor = bench.machine.settings.governor
    if governor not in (None, "performance"):
        yield f"The frequency governor is {governor}, so milliseconds vary. Set it to performance."


def _about_effort(results: Results) -> Iterator[str]:
    caveat = quick_caveat(results)
    if caveat is not None:
        yield caveat


def _about_speed(bench: BenchResult) -> Iterator[str]:
    control = bench.aa_control
    if control is not None and not control.is_valid:
        yield (
            f"INVALID: the A/A control failed. {bench.row(control.id).name} was compared with itself, and the speedup "
            f"is {table.ratio(control.ratio)} instead of 1.00. The machine was too unsteady: trust no speedup here. "
            "Measure again on an idle machine."
        )
    uncertain = [
        f"{row.name}: {table.ratio(row.speedup)}"
        for row in bench.rows
        if row.speedup is not None and _is_uncertain(row.speedup)
    ]
    if uncertain:
        yield f"These speedups are uncertain by more than {WIDE_INTERVAL:.0%}: {'; '.join(uncertain)}. Use more rounds."
    calls = min((row.latency.n for row in bench.rows if row.latency is not None), default=None)
    is_quick = bench.protocol.effort == "quick"  # its own caveat has the same advice
    if calls is not None and calls < (needed := max(MIN_SAMPLES.values())) and not is_quick:
        yield f"{calls} calls are too few for a 99th percentile, which needs {needed}. Use more rounds."
    yield from (f"{row.name} was not measured: {row.error}." for row in bench.rows if row.error)
    yield from (f"{absent.name} was not measured: {absent.reason}." for absent in bench.absent)


def _is_uncertain(ratio: Ratio) -> bool:
    return (ratio.high - ratio.low) / 2 > WIDE_INTERVAL * ratio.value


def _about_sessions(bench: BenchResult) -> Iterator[str]:
    """Whether onnxruntime ran each bundle on the provider requested, with fused attention."""
    for row in bench.rows:
        if row.session is None or row.process is None:
            continue
        wanted, nodes = row.process.ran_on, row.session.nodes
        elsewhere = {provider: count for provider, count in nodes.items() if provider != wanted}
        if elsewhere:
            yield (
                f"{row.name}: {sum(elsewhere.values())} of {sum(nodes.values())} nodes did not run on {wanted} but on "
                f"{', '.join(elsewhere)}. Its speed is not that of {wanted}. Check the installed onnxruntime with "
                "`pocketbert doctor`."
            )
        if not {*ATTENTIONS, INT8_PRODUCT} & set(row.session.fused):
            yield (
                f"{row.name}: none of its {sum(nodes.values())} nodes is a fused attention, so it is slower than it "
                "could be. Export the model again with `pocketbert export`."
            )


def _about_load(bench: BenchResult) -> Iterator[str]:
    cores, threads = bench.machine.usable_cores, bench.protocol.num_threads
    if bench.load is not None and bench.load.processes * threads > cores:
        fitting = machine.threads_for(bench.load.processes, cores)
        yield (
            f"In the load test, {bench.load.processes} processes of {threads} threads each shared {cores} cores, so "
            f"they waited for one another. With --threads {fitting} they will serve far more texts per second."
        )


def _about_variants(results: Results) -> Iterator[str]:
    variants = {} if results.stages.export is None else results.stages.export.variants
    known = {name: VARIANTS[name] for name in variants if name in VARIANTS}
    phrases = phrases_for(results.task_type)
    for name, variant in variants.items():
        in_batch = variant.parity.batch_invariance
        shift = max(in_batch.batch_shift, in_batch.padding_shift)
        if shift > LARGE_SHIFT:
            yield (
                f"{name} is batch-dependent: {phrases.moved} moved by up to {shift:.2g} when the text was batched with "
                "others. predict.py runs texts one by one. Do the same if you load the model yourself."
            )
        is_fp16 = name in known and known[name].weights == "fp16"
        if is_fp16 and variant.parity.session.low_precision < 1:
            yield (
                f"{name} is made for GPUs. On this processor the runtime computes it in fp32, so its speed and "
                "accuracy here are not those of fp16."
            )
    quantised = [name for name, variant in known.items() if variant.weights not in FOR_GPU]
    if quantised and not machine.has_int8_dot_product(results.stages.bench.machine):
        yield (
            "This processor has no int8 dot product. On one that has it (VNNI, AMX or DOTPROD), "
            f"{', '.join(quantised)} will be faster. Measure on the machine that will serve the model."
        )
