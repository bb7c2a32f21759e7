"""The content of a report as one typed page, from which report.html and report.md are rendered."""

from dataclasses import dataclass

from bench.advice.rules import advice_on
from bench.plots import pareto, report_plots
from bench.plots.style import Plot
from bench.report import augmentation_summary, parity_table, table
from bench.report.caveats import caveats_of
from bench.report.effort import certainty, effort_sentences
from bench.report.section import ReportSection, recommended_row
from bench.report.sections import sections
from bench.report.table import Table
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.document import Reproduce, Results, SplitSizes, StageResults
from bench.results.measurements import Machine, MachineSettings
from compress.common.escaping import shell_path, shell_word
from compress.data.metrics import Metric
from compress.results import SplitScores, TrainingResult

MOST_SCORES_LISTED = 8

Lines = list[tuple[str, str]]  # names and their values


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure of the headline, and its meaning."""

    figure: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences under a title. `is_open`: not folded."""

    title: str
    sentences: list[str]
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class ParityPart:
    """The parity table. `num_rows`: of dev. `meanings`: of its columns; `explained`: each variant in sentences."""

    num_rows: int
    table: Table
    meanings: Lines
    explained: list[Sentences]


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """A report. A list is empty, and another part None, if the run or benchmark has no such results.

    `choices`: the keys that the run chose itself. `advice`: what to try next, as sentences and options of `run`.

    `num_rows`: of a run's splits. `method`: how the benchmark measured. `pareto`: accuracy against latency.
    `after_stages`: scores of teacher and student after each stage. `use`: commands that try the recommended bundle.
    """

    name: str
    metric: Metric
    num_rows: SplitSizes | None
    tiles: list[Tile]
    gate: list[str]
    caveats: list[str]
    remarks: list[str]
    method: str
    rows: Table
    pareto: Plot | None
    sections: list[ReportSection]
    parity: ParityPart | None
    curves: Plot | None
    training: Table
    after_stages: Table
    augmentation: Lines
    use: list[str]
    reproduce: Reproduce | None
    machine: Lines
    choices: Table
    advice: Lines


def page_of(results: Results) -> ReportPage:
    """The report on these results."""
    stages, run = results.stages, results.run
    bench = stages.bench
    trainings = {name: training for name, training in stages.trainings().items() if training.history}
    best = recommended_row(bench, _recommended(stages))
    return ReportPage(
        name=results.name,
        metric=results.metric,
        num_rows=None if run is None else run.num_rows,
        tiles=[] if best is None or results.is_smoke else _tiles(bench, best),
        gate=[] if run is None else run.gate,
        caveats=caveats_of(results),
        remarks=[] if run is None else run.remarks,
        method=" ".join(filter(None, (_method(bench), effort_sentences(results)))),
        rows=table.benchmark_table(results),
        pareto=pareto.accuracy_against_latency(bench, None if best is None else best.id),
        sections=sections(bench, _recommended(stages)),
        parity=_parity(results),
        curves=report_plots.loss_curves({name: training.history for name, training in trainings.items()}),
        training=Table(
            header=("stage", "steps", "time", f"{results.metric_name} on dev after each epoch"),
            cells=[_training(name, training) for name, training in trainings.items()],
        ),
        after_stages=_after_stages(results),
        augmentation=augmentation_summary.report_lines(stages, results.task_type),
        use=_use(stages, takes_pairs=run is not None and run.takes_pairs),
        reproduce=results.reproduce,
        machine=[*machine_lines(bench.machine), ("SHA-256", _digests(bench))],
        choices=Table(
            header=("key", "chosen", "reason"),
            cells=[] if run is None else [(each.key, each.value, each.reason) for each in run.choices],
        ),
        advice=[(advice.sentence, advice.options) for advice in advice_on(results)],
    )


def machine_lines(machine: Machine) -> Lines:
    """A machine as names and values."""
    gpu = machine.gpu
    return [
        ("processor", f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} logical cores"),
        ("instructions", ", ".join(machine.instructions) or "-"),
        ("memory", f"{machine.memory_bytes / 2**30:.0f} GiB"),
        (
            "GPU",
            "no CUDA device"
            if gpu is None
            else f"{gpu.name}, {gpu.driver_version}, {gpu.memory_total}, {gpu.sm_clock}, {gpu.pstate}, "
            f"{gpu.temperature}, {gpu.power_draw}",
        ),
        ("system", f"{machine.system}, Python {machine.python}, load average {machine.load_average}"),
        ("settings", _settings(machine.settings)),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
    ]


def _tiles(bench: BenchResult, best: BenchmarkRow) -> list[Tile]:
    """The headline: the recommended variant compared with the teacher in torch."""
    teacher, speedup = bench.rows[0], best.speedup
    tiles = []
    if best.score is not None and teacher.score is not None and teacher.score > 0:
        kept, interval = best.retention, ""
        if kept is not None:
            interval = f" (95 % interval {kept.low:.1%} to {kept.high:.1%})"
        what = f"of the teacher's {bench.metric_name} kept{interval}"
        tiles.append(Tile(figure=f"{best.score / teacher.score:.1%}", what=what))
    if speedup is not None:
        tiles.append(Tile(figure=f"{speedup.value:.1f}x", what=f"as fast as the teacher{certainty(best)}"))
    tiles.append(Tile(figure=f"{teacher.size_bytes / best.size_bytes:.1f}x", what="smaller on disk"))
    tiles.append(Tile(figure=table.megabytes(best.size_bytes), what=best.name))
    return tiles


def _recommended(stages: StageResults) -> str | None:
    """The recommended variant, or the first that passed if nothing was timed. None without an export."""
    if stages.export is None:
        return None
    return stages.export.recommended or next(iter(stages.export.passed), None)


def _use(stages: StageResults, *, takes_pairs: bool) -> list[str]:
    """Commands that try the recommended bundle from the folder of the report."""
    chosen = _recommended(stages)
    if chosen is None:
        return []
    bundle = f"bundles/{chosen}"
    return [
        "pip install numpy onnxruntime tokenizers",
        predict_command(bundle, takes_pairs=takes_pairs),
        f"python {shell_word(f'{bundle}/predict.py')} < lines.txt > answers.jsonl",
        f"pocketbert verify {shell_word(bundle)}",
    ]


def predict_command(bundle: str, *, takes_pairs: bool) -> str:
    """The command that tries a bundle, quoted for a shell. `bundle`: its folder."""
    texts = '"a text" --pair "another text"' if takes_pairs else '"a text"'
    return f"python {shell_path(f'{bundle}/predict.py')} {texts}"


def _method(bench: BenchResult) -> str:
    protocol, control, first = bench.protocol, bench.aa_control, bench.rows[0].latency
    if protocol.restart_every < protocol.rounds:
        restarts = f"every process is replaced after {protocol.restart_every} of {protocol.rounds} rounds"
        over = "processes"
    else:
        restarts = "each model keeps one process throughout"
        over = "visits (it leaves out differences between processes)"
    aa_control = ""
    if control is not None:
        aa_control = (
            f" A/A control: {bench.row(control.id).name} compared with itself gives {table.ratio(control.ratio)}."
        )
    return (
        "Latency is from text to label at batch 1: tokenise, run the model, pick the label. The texts are the task's "
        f"own. Each model runs in its own process (threads: {protocol.num_threads}). The models are interleaved in "
        f"random order, {protocol.texts_per_visit} texts per visit and {0 if first is None else first.n} calls in all; "
        f"{restarts}. Times as fast compares with the first row of the same device, paired by visit. Its 95 % interval "
        f"is over {over}.{aa_control} Texts/s is with batches of {protocol.throughput_texts} texts available at once."
    )


def _parity(results: Results) -> ParityPart | None:
    run, exported = results.run, results.stages.export
    if run is None or exported is None:
        return None
    return ParityPart(
        num_rows=run.num_rows.dev,
        table=parity_table.parity_table(exported),
        meanings=list(parity_table.MEANINGS),
        explained=[
            Sentences(title=title, sentences=sentences, is_open=bool(variant.failures))
            for (title, sentences), variant in zip(
                parity_table.explain_variants(exported), exported.variants.values(), strict=True
            )
        ],
    )


def _training(stage: str, training: TrainingResult) -> tuple[str, ...]:
    scores = _scores(training.dev_scores)
    if stage == "masked_lm":
        scores += " (top-1 accuracy on held-out text)"
    if training.best_epoch == 0:
        scores += " (no epoch beat the initial weights, which were kept)"
    resumed = f" from step {training.resumed_at_step} on" if training.resumed_at_step else ""
    return (stage, str(training.num_steps), f"{training.seconds:.0f} s{resumed}", scores)


def _scores(each_epoch: list[float]) -> str:
    """All scores if they are few; otherwise the first, the best and the last."""
    if len(each_epoch) <= MOST_SCORES_LISTED:
        return " ".join(f"{score:.3f}" for score in each_epoch) or "-"
    best = max(each_epoch)
    return (
        f"{each_epoch[0]:.3f} ... {best:.3f} (epoch {each_epoch.index(best) + 1}) ... {each_epoch[-1]:.3f} "
        f"({len(each_epoch)} epochs)"
    )


def _after_stages(results: Results) -> Table:
    """The metric of the teacher, and of the student after each stage, on dev and test.

    The header has the data set's own names of the splits, if it has any (as MNLI: matched and mismatched).
    """
    stages, run = results.stages, results.run
    start = "before distillation" if stages.general is None else "after general distillation"
    rows: list[tuple[str, SplitScores | None]] = []
    if stages.teacher is not None:
        rows.append(("teacher", stages.teacher.scores))
    if stages.intermediate is not None:
        rows += [
            (f"student {start}, with the teacher's head", stages.intermediate.scores_before),
            ("student after the intermediate stage, with the teacher's head", stages.intermediate.scores),
        ]
    if stages.prediction is not None:
        rows.append(("student after the prediction stage", stages.prediction.scores))
    names = {} if run is None else run.split_names
    has_test = run is None or not run.selected_on_test
    splits = [f"{split} ({names[split]})" if split in names else split for split in ("dev", "test")]
    cells = [
        (who, f"{scores.dev:.3f}", *([f"{scores.test:.3f}"] if has_test else []))
        for who, scores in rows
        if scores is not None
    ]
    return Table(header=(results.metric_name, *(splits if has_test else splits[:1])), cells=cells)


def _digests(bench: BenchResult) -> str:
    texts, code = (digest[:12] if digest else "not computed" for digest in (bench.texts_sha256, bench.code_sha256))
    return f"texts {texts}, code {code} (results.json has them in full, and those of each model)"


def _settings(settings: MachineSettings) -> str:
    quota = settings.quota_cores
    return (
        f"frequency governor {settings.governor or 'not reported'}, quota {f'{quota:g} cores' if quota else 'none'}, "
        f"{settings.physical_cores or '?'} physical cores, SMT {settings.smt or 'not reported'}"
    )
