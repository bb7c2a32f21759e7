"""What a report shows, as one typed page: report.html and report.md are made from the same."""

from dataclasses import dataclass

from bench.plots import report_plots
from bench.report import augmentation_summary, parity_table, table
from bench.report.caveats import caveats_of
from bench.report.section import ReportSection
from bench.report.sections import sections
from bench.report.table import Table
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.document import Reproduce, Results, SplitSizes, StageResults
from bench.results.measurements import Machine, MachineSettings
from compress.data.metrics import Metric
from compress.results import SplitScores, TrainingResult

MOST_SCORES_SHOWN = 8

Lines = list[tuple[str, str]]  # what, and its value in words


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure of the headline, and what it is."""

    figure: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences under a title. `is_open`: to be read without being asked for."""

    title: str
    sentences: list[str]
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class ParityPart:
    """The parity ledger on `num_rows` dev rows. `meanings`: of its columns."""

    num_rows: int
    table: Table
    meanings: Lines
    explained: list[Sentences]


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """A report. Lists are empty, and other parts None, where a run or benchmark has nothing of the kind.

    `num_rows`: of a run's splits. `method`: how the benchmark was done, in words. `scatter`, `curves`: SVG.
    `after_stages`: scores of teacher and student after each stage. `use`: commands that try the recommended variant.
    """

    name: str
    metric: Metric
    num_rows: SplitSizes | None
    tiles: list[Tile]
    gate: list[str]
    cautions: list[str]
    remarks: list[str]
    method: str
    rows: Table
    scatter: str | None
    sections: list[ReportSection]
    parity: ParityPart | None
    curves: list[str]
    training: Table
    after_stages: Table
    augmentation: Lines
    use: list[str]
    reproduce: Reproduce | None
    machine: Lines


def page_of(results: Results) -> ReportPage:
    """The page that shows these results."""
    stages, run = results.stages, results.run
    bench = stages.bench
    trainings = {name: training for name, training in stages.trainings().items() if training.history}
    return ReportPage(
        name=results.name,
        metric=results.metric,
        num_rows=None if run is None else run.num_rows,
        tiles=_tiles(stages),
        gate=[] if run is None else run.gate,
        cautions=caveats_of(results),
        remarks=[] if run is None else run.remarks,
        method=_method(bench),
        rows=table.benchmark_table(results),
        scatter=report_plots.accuracy_against_latency(bench),
        sections=sections(bench, _recommended(stages)),
        parity=_parity(results),
        curves=[report_plots.loss_curve(training.history, name) for name, training in trainings.items()],
        training=Table(
            header=("stage", "steps", "time", f"{results.metric} on dev, each epoch"),
            cells=[_training(name, training) for name, training in trainings.items()],
        ),
        after_stages=_after_stages(results),
        augmentation=augmentation_summary.report_lines(stages, results.task_type),
        use=_use(stages, takes_pairs=run is not None and run.takes_pairs),
        reproduce=results.reproduce,
        machine=[*machine_lines(bench.machine), ("SHA-256", _digests(bench))],
    )


def machine_lines(machine: Machine) -> Lines:
    """A machine in words."""
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


def _tiles(stages: StageResults) -> list[Tile]:
    """The headline: the recommended variant against the teacher in torch."""
    teacher, best = stages.bench.rows[0], _recommended_row(stages)
    if best is None or best.speedup is None:
        return []
    tiles = [
        Tile(figure=f"x {best.speedup.value:.1f}", what="as fast as the teacher"),
        Tile(figure=f"x {teacher.size_bytes / best.size_bytes:.1f}", what="smaller on disk"),
        Tile(figure=table.megabytes(best.size_bytes), what=best.name),
    ]
    if best.score is not None and teacher.score:
        kept = f"{best.score / teacher.score:.1%}"
        tiles.insert(0, Tile(figure=kept, what=f"of the teacher's {stages.bench.metric} kept"))
    return tiles


def _recommended(stages: StageResults) -> str | None:
    """The variant to take: the recommended one; where nothing was timed, the first that passed."""
    if stages.export is None:
        return None
    passed = (name for name, variant in stages.export.variants.items() if not variant.failures)
    return stages.export.recommended or next(passed, None)


def _recommended_row(stages: StageResults) -> BenchmarkRow | None:
    """The row of the variant to take, on the device of the teacher's row, where it was timed."""
    chosen, rows = _recommended(stages), stages.bench.rows
    return next(
        (
            row
            for row in rows
            if chosen is not None
            and row.role == "student"
            and row.variant == chosen
            and row.device == rows[0].device
            and row.speedup is not None
        ),
        None,
    )


def _use(stages: StageResults, *, takes_pairs: bool) -> list[str]:
    """Commands that try the recommended variant, from the folder of the report."""
    chosen = _recommended(stages)
    if chosen is None:
        return []
    bundle = f"bundles/{chosen}"
    texts = '"a text" --pair "another text"' if takes_pairs else '"a text"'
    return [
        "pip install numpy onnxruntime tokenizers",
        f"python {bundle}/predict.py {texts}",
        f"python {bundle}/predict.py < lines.txt > answers.jsonl",
        f"pocketbert verify {bundle}",
    ]


def _method(bench: BenchResult) -> str:
    protocol, control, first = bench.protocol, bench.aa_control, bench.rows[0].latency
    if protocol.restart_every < protocol.rounds:
        restarts = f"after every {protocol.restart_every} of {protocol.rounds} rounds each goes on in a new one"
        over = "processes"
    else:
        restarts, over = "each in one process throughout", "visits (what another process would change is left out)"
    itself = "" if control is None else f" {bench.row(control.id).name} against itself: {table.ratio(control.ratio)}."
    return (
        f"Text to label at batch 1 on the task's own lengths: tokenise, run, pick the label. Every model in a process "
        f"of its own, {protocol.num_threads} threads each, visited in turn in random order for "
        f"{protocol.texts_per_visit} texts, {0 if first is None else first.n} calls in all; {restarts}. Times as fast: "
        f"against the first row of the device, paired by visit, with the 95 % interval over the {over}.{itself} "
        f"Texts/s: with {protocol.throughput_texts} at hand."
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
        scores += " (top 1, held-out text)"
    if training.best_epoch == 0:
        scores += " (none as good as before: kept as it was)"
    cut_off = f" from step {training.resumed_at_step} on" if training.resumed_at_step else ""
    return (stage, str(training.num_steps), f"{training.seconds:.0f} s{cut_off}", scores)


def _scores(each_epoch: list[float]) -> str:
    """One after another; of many the first, the best and the last."""
    if len(each_epoch) <= MOST_SCORES_SHOWN:
        return " ".join(f"{score:.3f}" for score in each_epoch) or "-"
    best = max(each_epoch)
    return (
        f"{each_epoch[0]:.3f} ... {best:.3f} (epoch {each_epoch.index(best) + 1}) ... {each_epoch[-1]:.3f} "
        f"({len(each_epoch)} epochs)"
    )


def _after_stages(results: Results) -> Table:
    """Teacher, and student after each stage: the metric on dev and test, under their names where they have their own.

    (MNLI: chosen on the matched dev rows, and reported on the mismatched ones too.)
    """
    stages, run = results.stages, results.run
    first = "as it came" if stages.general is None else "after general distillation"
    rows: list[tuple[str, SplitScores | None]] = []
    if stages.teacher is not None:
        rows.append(("teacher", stages.teacher.scores))
    if stages.intermediate is not None:
        rows += [
            (f"student {first}, under the teacher's head", stages.intermediate.scores_before),
            ("student after the intermediate stage, under the teacher's head", stages.intermediate.scores),
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
    return Table(header=(results.metric, *(splits if has_test else splits[:1])), cells=cells)


def _digests(bench: BenchResult) -> str:
    texts, code = (digest[:12] if digest else "not taken" for digest in (bench.texts_sha256, bench.code_sha256))
    return f"texts {texts}, code {code}; of each model, and in full, in results.json"


def _settings(settings: MachineSettings) -> str:
    quota = settings.quota_cores
    return (
        f"frequency governor {settings.governor or 'not told'}, quota {f'{quota:g} cores' if quota else 'none'}, "
        f"{settings.physical_cores or '?'} physical cores, SMT {settings.smt or 'not told'}"
    )
